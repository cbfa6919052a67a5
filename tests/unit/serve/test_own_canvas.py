"""The server's canvases of an image's own size, and the parameters that say which kind of canvas there is."""

from __future__ import annotations

import numpy as np
import pytest
from support.data import image_files
from support.serving import model_files

filters = model_files.load("models/preprocess/1/filters.py")
images = model_files.load("models/preprocess/1/images.py")

LIMITS = images.Limits(32 * 2**20, 50_000_000, 20_000)
SIDES = {"shorter_side_px": "40", "longer_side_px": "67", "size_rule": "round"}


@pytest.mark.parametrize(
    ("multiple", "resized", "canvas"),
    [
        (32, [(40, 60)], (64, 64)),
        (32, [(64, 96)], (64, 96)),  # already multiples
        (32, [(65, 96)], (96, 96)),
        (1, [(41, 67)], (41, 67)),
        (32, [(1, 1)], (32, 32)),
        (16, [(40, 67), (67, 40)], (80, 80)),  # landscape and portrait in one request
        (1, [(40, 67), (67, 40), (10, 10)], (67, 67)),
    ],
)
def test_canvases(multiple: int, resized: list[tuple[int, int]], canvas: tuple[int, int]) -> None:
    assert images.Geometry(40, 67, (), multiple).shared_canvas(resized) == canvas


@pytest.mark.parametrize("multiple", [1, 7, 32])
def test_random_pictures_are_never_cut_and_no_canvas_is_larger_than_it_must_be(multiple: int) -> None:
    rng = np.random.default_rng(multiple)
    geometry = images.Geometry(800, 1333, (), multiple)
    for original in rng.integers(1, 20_000, (300, 2)).tolist():
        height, width = geometry.resized_size(original)
        scale = min(np.float64(800) / min(original), np.float64(1333) / max(original))
        assert abs(height - max(original[0] * scale, 1)) <= 0.5
        assert abs(width - max(original[1] * scale, 1)) <= 0.5
        canvas = geometry.shared_canvas([(height, width)])
        assert [len(range(0, side, multiple)) * multiple for side in (height, width)] == list(canvas)
        assert max(canvas) < 1333 + multiple


def test_each_picture_of_a_request_keeps_its_pixels_its_size_and_its_scale() -> None:
    """Where another one makes the canvas larger, zeros are added and nothing else."""
    geometry = images.Geometry(40, 67, (), 32)
    files = [image_files.encoded(image_files.picture(*size), "PNG") for size in ((50, 90), (90, 50), (7, 9))]
    prepared = [images.prepare(file, geometry, LIMITS, filters.by_pillow) for file in files]
    together, infos, sizes = images.compose(prepared, geometry)
    for i, one in enumerate(prepared):
        alone, info, size = images.compose([one], geometry)
        height, width = alone.shape[1:3]
        np.testing.assert_array_equal(together[i, :height, :width], alone[0])
        assert int(together[i].sum()) == int(alone.sum())
        np.testing.assert_array_equal(infos[i], info[0])
        np.testing.assert_array_equal(sizes[i], size[0])


def test_the_parameters_say_which_kind_there_is() -> None:
    listed = images.geometry_of(SIDES | {"canvases": "64x96,96x64", "canvas_multiple": ""})
    assert listed == images.geometry_of(SIDES | {"canvases": "64x96,96x64"})  # as repositories of before have it
    assert listed == images.Geometry(40, 67, ((64, 96), (96, 64)), None)
    assert images.geometry_of(SIDES | {"canvases": "", "canvas_multiple": "32"}) == images.Geometry(40, 67, (), 32)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({}, "canvases: got '', expected sizes such as"),
        ({"canvases": "64x96", "canvas_multiple": "32"}, "canvases: got '64x96' beside canvas_multiple '32'"),
        ({"canvas_multiple": "0"}, "canvas_multiple: got '0', expected a whole number above zero"),
        ({"canvas_multiple": "-1"}, "canvas_multiple: got '-1'"),
        ({"canvas_multiple": "32.0"}, "canvas_multiple: got '32.0'"),
        ({"canvases": "64x96", "longer_side_px": ""}, "longer_side_px: got ''"),
        ({"canvases": "64x96", "size_rule": ""}, "size_rule: got '', expected one of round, floor, detectron2"),
        ({"canvases": "64x96", "size_rule": "ceil"}, "size_rule: got 'ceil'"),
    ],
)
def test_parameters_that_say_neither_or_both_are_refused(parameters: dict[str, str], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        images.geometry_of(SIDES | parameters)
