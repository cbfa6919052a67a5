"""Large images by tiles: every object once, as a detector of whole images finds it that sees small objects, too."""

import asyncio
from collections.abc import Iterable

import numpy as np
import pytest
from maskline_client import AsyncTiledDetector, Detections, InvalidImage, TiledDetector, rle
from maskline_client.async_detector import AsyncImageDetector
from maskline_client.contract import MASKRCNN
from maskline_client.detector import ImageDetector
from maskline_client.images import ImageSource, decode_rgb, encode
from maskline_client.served_model import KeypointNames, ServedModel
from PIL import Image
from skimage.measure import label

SIZE = (330, 470)
COLOURS = {"red": (200, 0, 0), "green": (0, 200, 0)}


class ByColour(ImageDetector):
    """Finds each connected area of a colour, of at least 1/20 of the image's side as a network misses smaller ones."""

    def __init__(self, keypoints: bool = False, least: float = 0.05) -> None:
        self.keypoints, self.least, self.seen, self.closed = keypoints, least, [], False

    @property
    def model(self) -> ServedModel:
        return ServedModel(
            tuple(COLOURS), MASKRCNN.outputs, 1000, KeypointNames(("corner",)) if self.keypoints else None
        )

    def close(self) -> None:
        self.closed = True

    def _detect(self, image: ImageSource, of: ServedModel | None, masks: bool) -> Detections:
        pixels = np.asarray(decode_rgb(encode(image)))
        self.seen.append(pixels.shape[:2])
        rows = []
        for number, colour in enumerate(COLOURS.values()):
            parts = label((pixels == colour).all(axis=2), connectivity=1)
            rows += [(number, parts == index) for index in range(1, parts.max() + 1)]
        rows = [(number, mask) for number, mask in rows if self._is_large(mask)]
        boxes = np.array([box_of(mask) for _, mask in rows], np.float32).reshape(-1, 4)
        corners = np.concatenate([boxes[:, :2], np.ones((len(rows), 1), np.float32)], axis=1)[:, None]
        return Detections(
            boxes=boxes,
            scores=np.linspace(0.9, 0.6, len(rows)).astype(np.float32),
            labels=np.array([number for number, _ in rows], np.int32),
            names=tuple(self.model.classes[number] for number, _ in rows),
            rle=tuple(rle.from_mask(mask) for _, mask in rows) if masks else None,
            image_size=pixels.shape[:2],
            keypoints=corners if self.keypoints else None,
            keypoint_names=("corner",) if self.keypoints else (),
        )

    def _is_large(self, mask: np.ndarray) -> bool:
        x0, y0, x1, y1 = box_of(mask)
        return max(x1 - x0, y1 - y0) >= self.least * max(mask.shape)


def box_of(mask: np.ndarray) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


@pytest.fixture(scope="module")
def aerial() -> np.ndarray:
    """Many small squares of two colours, and one larger than a tile."""
    pixels = np.zeros((*SIZE, 3), np.uint8)
    rng = np.random.default_rng(0)
    for y in range(4, 320, 22):
        for x in range(4, 250, 22):
            high, wide = rng.integers(9, 15, 2)
            pixels[y : y + high, x : x + wide] = list(COLOURS.values())[int(rng.integers(2))]
    pixels[20:300, 290:460] = COLOURS["red"]
    return pixels


def as_set(found: Detections) -> set[tuple]:
    rows = zip(found.boxes.tolist(), found.names, found.rle or [None] * len(found), strict=True)
    return {(tuple(box), name, counts) for box, name, counts in rows}


def test_it_finds_what_is_too_small_for_the_whole_image(aerial: np.ndarray) -> None:
    everything = ByColour(least=0).detect(aerial)
    inner = ByColour()
    assert len(inner.detect(aerial)) == 1  # the large one alone
    found = TiledDetector(inner, side=128, overlap=32).detect(aerial)
    assert len(found) == len(everything) > 150
    assert as_set(found) == as_set(everything)
    assert found.image_size == SIZE
    assert (np.diff(found.scores) <= 0).all()


def test_keypoints_and_boxes_alone(aerial: np.ndarray) -> None:
    detector = TiledDetector(ByColour(keypoints=True), side=128, overlap=32)
    found = detector.detect(aerial)
    small = [index for index, box in enumerate(found.boxes) if box[2] - box[0] < 20]
    np.testing.assert_array_equal(found.keypoints[small, 0, :2], found.boxes[small, :2])
    boxes = TiledDetector(ByColour(), side=128, overlap=32).detect(aerial, masks=False)
    assert boxes.rle is None
    assert {row[:2] for row in as_set(boxes)} == {row[:2] for row in as_set(found)}


def test_many_images_and_their_order(aerial: np.ndarray) -> None:
    inner = ByColour()
    with TiledDetector(inner, side=128, overlap=32) as detector:
        one, other = detector.detect_many([aerial, aerial[:, ::-1].copy()])
    assert len(one) == len(other)
    assert inner.closed


def test_an_image_of_one_tile_is_asked_about_as_it_is() -> None:
    inner = ByColour()
    data = encode(np.zeros((100, 120, 3), np.uint8))
    assert len(TiledDetector(inner, side=128).detect(data)) == 0
    assert inner.seen == [(100, 120)]


def test_tiles_are_of_the_upright_image(aerial: np.ndarray, tmp_path) -> None:
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(aerial)))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    turned.save(tmp_path / "turned.png", exif=exif)
    found = TiledDetector(ByColour(), side=128, overlap=32).detect(tmp_path / "turned.png")
    assert as_set(found) == as_set(ByColour(least=0).detect(aerial))


def test_progress_is_told_tile_by_tile(aerial: np.ndarray) -> None:
    told: list[tuple[int, int]] = []
    TiledDetector(ByColour(), side=256, overlap=32, advance=lambda *counts: told.append(counts)).detect(aerial)
    assert told == [(done, 5) for done in range(1, 6)]  # two rows of two, and the whole


def test_one_refused_tile_refuses_the_image(aerial: np.ndarray) -> None:
    class Refusing(ByColour):
        def _detect(self, image: ImageSource, of: ServedModel | None, masks: bool) -> Detections:
            if len(self.seen) == 3:
                raise InvalidImage("the fourth")
            return super()._detect(image, of, masks)

    outcomes: Iterable = TiledDetector(Refusing(), side=128, in_flight=1).try_detect_many([aerial])
    assert [str(outcome.error) for outcome in outcomes] == ["the fourth"]


def test_tiles_that_cannot_be_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="expected 0 to half of the side"):
        TiledDetector(ByColour(), side=100, overlap=60)
    with pytest.raises(ValueError, match="expected 0 to half of the side"):
        AsyncTiledDetector(InALoop(ByColour()), side=100, overlap=60)


class InALoop(AsyncImageDetector):
    """Another detector, for an event loop; counts the calls under way."""

    def __init__(self, inner: ByColour) -> None:
        self.inner, self.under_way, self.most = inner, 0, 0

    async def model(self) -> ServedModel:
        return self.inner.model

    async def close(self) -> None:
        self.inner.close()

    async def _detect(self, image: ImageSource, of: ServedModel | None, masks: bool) -> Detections:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(0)
            return self.inner._detect(image, of, masks)
        finally:
            self.under_way -= 1


@pytest.mark.parametrize("masks", [True, False])
def test_in_an_event_loop_it_answers_the_same(aerial: np.ndarray, masks: bool) -> None:
    inner, told = InALoop(ByColour()), list[tuple[int, int]]()

    async def detect() -> tuple[Detections, Detections]:
        def advance(done: int, total: int) -> None:
            told.append((done, total))

        async with AsyncTiledDetector(inner, side=128, overlap=32, in_flight=3, advance=advance) as detector:
            small = await detector.detect(aerial[:100, :120].copy(), masks=masks)
            return await detector.detect(aerial, masks=masks), small

    found, small = asyncio.run(detect())
    expected = TiledDetector(ByColour(), side=128, overlap=32)
    assert as_set(found) == as_set(expected.detect(aerial, masks=masks))
    assert as_set(small) == as_set(ByColour().detect(aerial[:100, :120].copy(), masks=masks))
    assert (inner.most, inner.under_way, inner.inner.closed) == (3, 0, True)
    assert told == [(done, len(told)) for done in range(1, len(told) + 1)]
    assert len(told) > 10


def test_in_an_event_loop_one_refused_tile_ends_the_others(aerial: np.ndarray) -> None:
    class Refusing(ByColour):
        def _detect(self, image: ImageSource, of: ServedModel | None, masks: bool) -> Detections:
            if self.seen:
                raise InvalidImage("the second")
            return super()._detect(image, of, masks)

    inner = InALoop(Refusing())

    async def detect() -> list[str]:
        detector = AsyncTiledDetector(inner, side=128, overlap=32, in_flight=4)
        return [str(outcome.error) async for outcome in detector.try_detect_many([aerial])]

    assert asyncio.run(detect()) == ["the second"]
    assert inner.under_way == 0
    assert len(inner.inner.seen) == 1
