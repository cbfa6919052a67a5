"""The server's preprocessing is training's, bit by bit, on every kind of image."""

from __future__ import annotations

import numpy as np
import pytest
from maskline_train.data.canvas import preprocess_batch
from maskline_train.data.images import decode_image
from maskline_train.spec import PreprocessingSpec
from support.data import image_files
from support.serving import model_files

filters = model_files.load("models/preprocess/1/filters.py")
images = model_files.load("models/preprocess/1/images.py")

FILES = image_files.good_files()
LIMITS = images.Limits(32 * 2**20, 50_000_000, 20_000)
SPECS = {
    "canvases": PreprocessingSpec(64, 96, ((64, 96), (96, 64), (96, 96))),
    "kept size": PreprocessingSpec(37, 53, ((64, 64), (64, 32))),  # of some files
    "cut": PreprocessingSpec(64, 200, ((32, 64), (64, 32))),  # no canvas holds most files
    "multiple of 32": PreprocessingSpec(37, 53, (), canvas_multiple=32),
    "no padding": PreprocessingSpec(64, 200, (), canvas_multiple=1),
    "as mmdetection": PreprocessingSpec(37, 53, (), canvas_multiple=32, resize_filter="cv2"),
    "as torchvision": PreprocessingSpec(64, 96, (), canvas_multiple=32, resize_filter="torch", size_rule="floor"),
    "as detectron2": PreprocessingSpec(64, 96, (), canvas_multiple=32, size_rule="detectron2"),
    "as maskrcnn-benchmark": PreprocessingSpec(64, 96, (), canvas_multiple=32, size_rule="maskrcnn_benchmark"),
    "as Detectron": PreprocessingSpec(64, 96, (), canvas_multiple=1, resize_filter="cv2", size_rule="detectron"),
    "cut, by another filter": PreprocessingSpec(
        64, 200, ((32, 64), (64, 32)), resize_filter="torch", size_rule="floor"
    ),
}
EACH_SPEC = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


def served(files: list[bytes], spec: PreprocessingSpec) -> tuple[np.ndarray, np.ndarray]:
    geometry = images.Geometry(
        spec.shorter_side_px, spec.longer_side_px, spec.canvases, spec.canvas_multiple, spec.size_rule
    )
    resize, _ = filters.choose(spec.resize_filter)
    canvas, info, size = images.compose([images.prepare(file, geometry, LIMITS, resize) for file in files], geometry)
    np.testing.assert_array_equal(size, info[:, 4:])
    return canvas, info


def trained(files: list[bytes], spec: PreprocessingSpec) -> tuple[np.ndarray, np.ndarray]:
    return preprocess_batch([decode_image(file) for file in files], spec)


@EACH_SPEC
@pytest.mark.parametrize("name", FILES)
def test_one_file_gives_the_same_canvas_and_info(name: str, spec: PreprocessingSpec) -> None:
    canvas, info = served([FILES[name]], spec)
    expected_canvas, expected_info = trained([FILES[name]], spec)
    np.testing.assert_array_equal(canvas, expected_canvas)
    np.testing.assert_array_equal(info, expected_info)
    assert canvas.dtype == np.uint8
    assert info.dtype == np.float32


@EACH_SPEC
def test_a_request_with_every_file_shares_one_canvas_as_in_training(spec: PreprocessingSpec) -> None:
    canvas, info = served(list(FILES.values()), spec)
    expected_canvas, expected_info = trained(list(FILES.values()), spec)
    np.testing.assert_array_equal(canvas, expected_canvas)
    np.testing.assert_array_equal(info, expected_info)


def test_the_baselines_own_sizes_agree_on_a_photograph_sized_picture() -> None:
    spec = PreprocessingSpec()
    files = [image_files.encoded(image_files.picture(h, w), "JPEG") for h, w in ((480, 640), (640, 480))]
    for batch in ([files[0]], [files[1]], files):
        canvas, info = served(batch, spec)
        expected_canvas, expected_info = trained(batch, spec)
        np.testing.assert_array_equal(canvas, expected_canvas)
        np.testing.assert_array_equal(info, expected_info)


@pytest.mark.parametrize("multiple", [1, 16, 32, 64])
def test_random_sizes_on_their_own_canvases_agree(multiple: int) -> None:
    rng = np.random.default_rng(multiple)
    for _ in range(25):
        shorter = int(rng.integers(1, 80))
        spec = PreprocessingSpec(shorter, shorter + int(rng.integers(0, 80)), (), canvas_multiple=multiple)
        sizes = rng.integers(1, 120, (int(rng.integers(1, 5)), 2)).tolist()
        files = [image_files.encoded(image_files.picture(h, w), "PNG") for h, w in sizes]
        canvas, info = served(files, spec)
        expected_canvas, expected_info = trained(files, spec)
        np.testing.assert_array_equal(canvas, expected_canvas)
        np.testing.assert_array_equal(info, expected_info)
        # The rule once more, in whole numbers: no side is longer than it has to be, and none is cut.
        for side, held in zip(canvas.shape[1:3], info[:, :2].max(axis=0).tolist(), strict=True):
            assert side % multiple == 0
            assert held <= side < held + multiple


def test_a_filter_that_nobody_has_is_refused() -> None:
    with pytest.raises(ValueError, match="resize_filter: got 'lanczos', expected one of pillow, cv2, torch"):
        filters.choose("lanczos")
