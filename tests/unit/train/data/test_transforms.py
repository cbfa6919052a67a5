"""Boxes and masks stay together under every transform, by property."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from maskline_host import library as host
from maskline_train.data import transforms
from maskline_train.data.canvas import resize_image
from maskline_train.data.masks.crops import MaskCrops, tight
from maskline_train.data.masks.rle_masks import RleMasks
from maskline_train.data.resizing import scaled_size
from maskline_train.data.transforms import Augmentation, Sample, augment, flip_horizontal, recolour, resize
from maskline_train.spec import PreprocessingSpec
from pycocotools import mask as coco_mask
from support.data.mask_crops import crops_of

SPEC = PreprocessingSpec(shorter_side_px=64, longer_side_px=200)


def tight_box(mask: np.ndarray) -> list[float]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


@st.composite
def samples(draw, rectangles: bool = False):
    """An image of noise with 0 to 4 ellipses or rectangles, their tight boxes and distinct labels."""
    height, width = draw(st.integers(24, 90)), draw(st.integers(24, 90))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    masks = []
    for _ in range(draw(st.integers(0, 4))):
        h, w = draw(st.integers(1, height)), draw(st.integers(1, width))
        y, x = draw(st.integers(0, height - h)), draw(st.integers(0, width - w))
        grid_y, grid_x = np.mgrid[:height, :width] + 0.5
        across_y, across_x = np.abs(grid_y - y - h / 2) / (h / 2), np.abs(grid_x - x - w / 2) / (w / 2)
        masks.append(np.maximum(across_y, across_x) <= 1 if rectangles else across_y**2 + across_x**2 <= 1)
    masks = np.array(masks, np.uint8).reshape(-1, height, width)
    boxes = np.array([tight_box(mask) for mask in masks], np.float32).reshape(-1, 4)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    return Sample(image, boxes, np.arange(len(masks)), crops_of(masks))


@given(samples())
@settings(max_examples=60, deadline=None)
def test_a_flip_moves_boxes_exactly_with_their_masks_and_undoes_itself(sample):
    flipped = flip_horizontal(sample)
    for box, mask in zip(flipped.boxes, flipped.masks, strict=True):
        assert box.tolist() == tight_box(mask)
    assert np.array_equal(flipped.image[:, 0], sample.image[:, -1])
    twice = flip_horizontal(flipped)
    assert np.array_equal(twice.masks.array(), sample.masks.array())
    for name in ("image", "boxes", "labels"):
        assert np.array_equal(getattr(twice, name), getattr(sample, name))


def test_masks_that_are_still_run_lengths_are_mirrored_too():
    mask = np.zeros((20, 30), np.uint8)
    mask[3:9, 4:20] = np.tri(6, 16, dtype=np.uint8)
    masks = RleMasks([coco_mask.encode(np.asfortranarray(mask))], mask.shape)
    sample = Sample(np.zeros((20, 30, 3), np.uint8), np.zeros((1, 4), np.float32), np.zeros(1, np.int64), masks)
    assert np.array_equal(flip_horizontal(sample).masks.array(), mask[None, :, ::-1])
    assert np.array_equal(sample.crops().array(), mask[None])


@given(samples(), st.floats(1, 4), st.floats(1, 4))
@settings(max_examples=60, deadline=None)
def test_enlarged_boxes_are_the_tight_boxes_of_enlarged_masks(sample, scale_y, scale_x):
    height, width = round(sample.image.shape[0] * scale_y), round(sample.image.shape[1] * scale_x)
    resized = resize(sample, (height, width), SPEC)
    assert resized.image.shape == (height, width, 3)
    assert resized.labels.tolist() == sample.labels.tolist()
    assert_tight(resized)


@given(samples(rectangles=True), st.integers(8, 200), st.integers(8, 200))
@settings(max_examples=100, deadline=None)
def test_so_are_rectangles_at_any_size_and_only_those_below_a_pixel_are_lost(sample, height, width):
    """Not ellipses: shrinking may step over the row that holds their tip, however far it reaches."""
    resized = resize(sample, (height, width), SPEC)
    assert_tight(resized)
    scale = np.array([width / sample.image.shape[1], height / sample.image.shape[0]])
    sides = (sample.boxes[:, 2:] - sample.boxes[:, :2]) * scale
    assert set(sample.labels[(sides >= 1).all(axis=1)].tolist()) <= set(resized.labels.tolist())


def assert_tight(sample: Sample) -> None:
    """Half a pixel: a mask's edge goes to the nearest pixel border, the box stays where it is."""
    for box, mask in zip(sample.boxes, sample.masks, strict=True):
        assert np.abs(box - tight_box(mask)).max() <= 0.5 + 1e-3  # float32 coordinates up to 400


@given(samples(), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_augmented_boxes_stay_inside_and_labels_stay_with_their_objects(sample, seed):
    augmentation = Augmentation(shorter_side_px=(48, 80), colour_strength=0.3)
    out = augment(sample, augmentation, SPEC, np.random.default_rng(seed))
    height, width = out.image.shape[:2]
    assert 48 <= min(height, width) <= 80 or max(height, width) == SPEC.longer_side_px
    assert out.image.dtype == np.uint8
    assert len(out.boxes) == len(out.labels) == len(out.masks)
    assert set(np.unique(out.masks.array())) <= {0, 1}
    if len(out.boxes):
        assert out.boxes.min() >= 0
        assert (out.boxes[:, [2, 3]] <= np.array([width, height]) + 1e-4).all()  # float32 rounding
        assert (out.boxes[:, 2:] > out.boxes[:, :2]).all()
    areas = {int(label): mask.mean() for label, mask in zip(sample.labels, sample.masks, strict=True)}
    for label, mask in zip(out.labels, out.masks, strict=True):
        # a swapped label would carry another share of the image; the border of a mask is at most this long
        assert mask.mean() == pytest.approx(areas[int(label)], abs=0.09)


@pytest.mark.parametrize("resize_filter", ["pillow", "cv2", "torch"])
@pytest.mark.parametrize("library", [True, False])
@pytest.mark.parametrize("size", [(120, 161), (61, 40), (60, 90), (31, 200), (60, 80)])
def test_a_picture_is_resized_to_the_same_bytes_with_and_without_the_library(resize_filter, library, size, monkeypatch):
    """Made larger, narrower, wider, lower, and left as it is."""
    spec = dataclasses.replace(SPEC, resize_filter=resize_filter)
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    sample = Sample(
        image, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), crops_of(np.zeros((0, 60, 80), np.uint8))
    )
    if not library:
        monkeypatch.setattr(transforms, "_library_resizes", lambda: False)
    assert np.array_equal(resize(sample, size, spec).image, resize_image(image, size, spec))


def test_a_library_of_another_build_is_not_used(monkeypatch, tmp_path):
    monkeypatch.setenv("MASKLINE_HOST_LIBRARY", str(tmp_path / "none.so"))
    host.load.cache_clear()
    assert not transforms._library_resizes.__wrapped__()
    host.load.cache_clear()


def test_an_object_whose_mask_vanishes_is_dropped():
    masks = np.zeros((2, 40, 40), np.uint8)
    masks[0, 1, 1] = 1  # not at the centre of any pixel of a quarter of the size
    masks[1, 8:30, 8:30] = 1
    boxes = np.array([tight_box(mask) for mask in masks], np.float32)
    out = resize(Sample(np.zeros((40, 40, 3), np.uint8), boxes, np.array([5, 6]), crops_of(masks)), (10, 10), SPEC)
    assert out.labels.tolist() == [6]
    assert out.boxes.tolist() == [[2, 2, 7.5, 7.5]]


def test_a_thin_box_that_closes_when_it_is_mirrored_is_dropped():
    """Open at 0.1, where float32 has finer steps than at 799.9: the loss of a box without area would be infinite."""
    mask = np.zeros((1, 60, 800), np.uint8)
    mask[0, 10:50, 0] = 1
    boxes = np.array([[0.1, 10, 0.10000201, 50], [5, 5, 9, 9]], np.float32)
    masks = MaskCrops((tight(0, 0, mask[0]),) * 2, (60, 800))
    sample = Sample(np.zeros((60, 800, 3), np.uint8), boxes, np.array([3, 4]), masks)
    spec = PreprocessingSpec(shorter_side_px=60, longer_side_px=800)
    changed = augment(sample, Augmentation(flip_probability=1.0), spec, np.random.default_rng(0))
    assert changed.labels.tolist() == [4]
    assert changed.boxes.tolist() == [[791, 5, 795, 9]]
    assert len(changed.crops()) == 1
    kept = augment(sample, Augmentation(flip_probability=0.0), spec, np.random.default_rng(0))
    assert kept.labels.tolist() == [3, 4]


def test_the_same_stream_gives_the_same_sample_and_flips_half_the_time():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    empty = (np.zeros((0, 4), np.float32), np.zeros(0, np.int64), crops_of(np.zeros((0, 64, 64), np.uint8)))
    sample = Sample(image, *empty)
    augmentation = Augmentation(shorter_side_px=(40, 70), colour_strength=0.2)
    one, two = (augment(sample, augmentation, SPEC, np.random.default_rng(4)).image for _ in range(2))
    assert np.array_equal(one, two)
    flips = [
        np.array_equal(augment(sample, Augmentation(), SPEC, np.random.default_rng(i)).image, image[:, ::-1])
        for i in range(200)
    ]
    assert 70 < sum(flips) < 130  # 100 expected, standard deviation 7


def test_shorter_sides_cover_the_whole_range():
    sample = Sample(
        np.zeros((64, 80, 3), np.uint8),
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.int64),
        crops_of(np.zeros((0, 64, 80), np.uint8)),
    )
    augmentation = Augmentation(shorter_side_px=(60, 63))
    seen = {augment(sample, augmentation, SPEC, np.random.default_rng(i)).image.shape[0] for i in range(60)}
    assert seen == {60, 61, 62, 63}
    assert scaled_size((64, 80), 60, 200, "round") == (60, 75)


def test_recolour_with_ones_changes_nothing_and_zero_brightness_is_black():
    image = np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)
    assert np.array_equal(recolour(image, 1.0, 1.0, 1.0), image)
    assert not recolour(image, 0.0, 1.0, 1.0).any()
    assert np.ptp(recolour(image, 1.0, 1.0, 0.0), axis=2).max() == 0  # no saturation: gray


@pytest.mark.parametrize(
    "options",
    [{"flip_probability": 1.5}, {"colour_strength": -0.1}, {"shorter_side_px": (80, 60)}, {"shorter_side_px": (0, 6)}],
)
def test_what_cannot_be_drawn_is_refused(options):
    with pytest.raises(ValueError, match="expected"):
        Augmentation(**options)
