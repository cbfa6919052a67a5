"""Canvases of an image's own size, against the rule counted out pixel by pixel: `canvas_multiple`."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from maskline_train.data.canvas import choose_canvas, preprocess, preprocess_batch, resize_geometry, resize_image
from maskline_train.data.coco import CocoDataset
from maskline_train.data.images import decode_image
from maskline_train.data.loader import eval_loader, train_loader
from maskline_train.data.transforms import Augmentation
from maskline_train.evaluation.many_views import PAPER_VIEWS, _prepare
from maskline_train.spec import PreprocessingSpec
from PIL import Image
from support.data.batches import targets_of
from support.data.coco_files import annotation, square, write
from torchvision.models.detection.transform import GeneralizedRCNNTransform

MULTIPLES = (1, 7, 16, 32, 64)
SIZES = ((60, 40), (40, 60), (50, 50), (9, 90), (90, 9), (60, 40))  # portrait, landscape, square, two strips


def spec_of(multiple: int, shorter_side_px: int = 40, longer_side_px: int = 67) -> PreprocessingSpec:
    return PreprocessingSpec(shorter_side_px, longer_side_px, (), canvas_multiple=multiple)


def counted_up(side: int, multiple: int) -> int:
    """The first multiple that is not below the side."""
    while side % multiple:
        side += 1
    return side


def resized_by_hand(size: tuple[int, int], spec: PreprocessingSpec) -> tuple[int, int]:
    """Both sides times one scale in float64, the half up; nothing is cut."""
    scale = min(np.float64(spec.shorter_side_px) / min(size), np.float64(spec.longer_side_px) / max(size))
    height, width = (max(1, math.floor(np.float64(side) * scale + 0.5)) for side in size)
    return height, width


@pytest.mark.parametrize("multiple", MULTIPLES)
def test_random_sizes_get_their_own_canvas(multiple: int) -> None:
    rng = np.random.default_rng(multiple)
    for _ in range(300):
        shorter = int(rng.integers(1, 900))
        spec = spec_of(multiple, shorter, shorter + int(rng.integers(0, 700)))
        size = int(rng.integers(1, 5000)), int(rng.integers(1, 5000))
        resized = resize_geometry(size, spec)
        assert resized == resized_by_hand(size, spec)
        canvas = choose_canvas([resized], spec)
        assert canvas == tuple(counted_up(side, multiple) for side in resized)
        assert max(canvas) <= counted_up(spec.longer_side_px, multiple)  # what bounds the server's memory
        if multiple == 1:
            assert canvas == resized


@pytest.mark.parametrize("multiple", MULTIPLES)
def test_images_of_one_batch_share_the_largest_height_and_width(multiple: int) -> None:
    rng = np.random.default_rng(10 + multiple)
    spec = spec_of(multiple, 400, 1000)
    for _ in range(100):
        sizes = [(int(h), int(w)) for h, w in rng.integers(1, 1001, (int(rng.integers(1, 9)), 2))]
        alone = [choose_canvas([size], spec) for size in sizes]
        shared = max(height for height, _ in alone), max(width for _, width in alone)
        assert choose_canvas(sizes, spec) == shared
        assert shared[0] == counted_up(max(height for height, _ in sizes), multiple)
    with pytest.raises(ValueError, match="got no image"):
        choose_canvas([], spec)


@pytest.mark.parametrize("multiple", MULTIPLES)
def test_batches_are_padded_as_torchvisions(multiple: int) -> None:
    rng = np.random.default_rng(20 + multiple)
    theirs = GeneralizedRCNNTransform(40, 67, [0.0] * 3, [1.0] * 3, size_divisible=multiple)
    for _ in range(50):
        sizes = [(int(h), int(w)) for h, w in rng.integers(1, 150, (int(rng.integers(1, 5)), 2))]
        batch = theirs.batch_images([torch.zeros(3, *size) for size in sizes], size_divisible=multiple)
        assert choose_canvas(sizes, spec_of(multiple)) == tuple(batch.shape[2:])


@pytest.mark.parametrize(
    ("size", "multiple", "canvas"),
    [
        ((40, 60), 32, (64, 64)),
        ((40, 60), 1, (40, 60)),
        ((60, 40), 32, (64, 64)),
        ((60, 40), 16, (64, 48)),
        ((1, 1), 64, (64, 64)),  # enlarged to 40 x 40, smaller than the multiple
        ((1, 500), 32, (32, 96)),  # 1 x 67: a strip
        ((1, 500), 1, (1, 67)),
        ((64, 64), 32, (64, 64)),  # 40 x 40
    ],
)
def test_canvases_worked_out_by_hand(size: tuple[int, int], multiple: int, canvas: tuple[int, int]) -> None:
    image = np.random.default_rng(3).integers(1, 256, (*size, 3), np.uint8)
    spec = spec_of(multiple)
    pixels, info = preprocess(image, spec)
    height, width = resized_by_hand(size, spec)
    assert pixels.shape == (*canvas, 3)
    np.testing.assert_array_equal(pixels[:height, :width], resize_image(image, (height, width), spec))
    assert not pixels[height:].any()
    assert not pixels[:, width:].any()
    np.testing.assert_array_equal(info, np.array([height, width, height / size[0], width / size[1], *size], np.float32))


@pytest.mark.parametrize("multiple", [1, 32])
def test_a_view_is_padded_as_plain_detection_pads(multiple: int) -> None:
    image = np.random.default_rng(4).integers(0, 256, (50, 70, 3), np.uint8)
    spec = spec_of(multiple)
    for view in PAPER_VIEWS:
        shown = image[:, ::-1] if view.flipped else image
        scaled = spec_of(multiple, round(40 * view.scale), round(67 * view.scale))
        canvas, info = _prepare(image, view, spec)
        expected, expected_info = preprocess(np.ascontiguousarray(shown), scaled)
        assert canvas.shape == expected.shape
        np.testing.assert_array_equal(info, expected_info)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> CocoDataset:
    """Noise of all `SIZES`, each with an object."""
    root: Path = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(0)
    images = [
        {"id": i + 1, "file_name": f"{i}.png", "height": height, "width": width}
        for i, (height, width) in enumerate(SIZES)
    ]
    objects = [annotation(i, i + 1, bbox=[1, 1, 6, 6], segmentation=square(1, 1, 6)) for i in range(len(SIZES))]
    write(root, images=images, annotations=objects)
    for image in images:
        noise = rng.integers(1, 256, (image["height"], image["width"], 3), np.uint8)
        Image.fromarray(noise).save(root / "train" / image["file_name"])
    return CocoDataset(root, "train")


@pytest.mark.parametrize("multiple", [1, 32])
def test_evaluation_shows_each_image_on_the_canvas_of_a_request_of_its_own(dataset: CocoDataset, multiple: int) -> None:
    spec = spec_of(multiple)
    batches = list(eval_loader(dataset, spec, batch_size=4))
    assert [batch.image_ids for batch in batches] == [(i + 1,) for i in range(len(SIZES))]
    for i, batch in enumerate(batches):
        canvas, info = preprocess_batch([decode_image(dataset.image_folder / dataset[i].file_name)], spec)
        np.testing.assert_array_equal(batch.canvas.numpy(), canvas)
        np.testing.assert_array_equal(batch.image_info.numpy(), info)


@pytest.mark.parametrize("multiple", MULTIPLES)
def test_a_training_batch_is_padded_to_the_multiple(dataset: CocoDataset, multiple: int) -> None:
    batches = train_loader(
        dataset, spec_of(multiple), batch_size=2, seed=1, augmentation=Augmentation(shorter_side_px=(32, 48))
    )
    for batch in itertools.islice(batches, 12):
        largest = batch.image_info[:, :2].amax(dim=0).tolist()
        assert tuple(batch.canvas.shape[1:3]) == tuple(counted_up(int(side), multiple) for side in largest)
        for target in targets_of(batch):
            assert target.masks.shape[1:] == batch.canvas.shape[1:3]
