"""int8 scales and weights by numbers a person can check, and which convolutions are quantised."""

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from maskline_export.errors import ContractError
from maskline_export.precision import quantize
from maskline_train.spec import PreprocessingSpec
from PIL import Image


def test_each_output_channel_has_its_own_scale() -> None:
    weight = np.array([[127.0, -63.4], [0.0, 0.0], [-254.0, 1.0]], np.float32)[:, :, None, None]
    levels, scales = quantize.quantised_weight(weight)
    assert scales.tolist() == [1.0, 2.0**-24, 2.0]  # a channel of zeros gets the smallest float16 number
    assert levels[:, :, 0, 0].tolist() == [[127, -63], [0, 0], [-127, 0]]
    assert levels.dtype == np.int8


def test_small_weights_lose_no_more_than_large_ones() -> None:
    """float16 is coarse below 6e-5: the scale is rounded before the weights are divided by it, not after."""
    rng = np.random.default_rng(0)
    weight = rng.uniform(-1, 1, (1, 500, 1, 1)).astype(np.float32)
    for size in (1.0, 1e-2, 1e-3, 1e-4):
        small = weight * np.float32(size)
        levels, scales = quantize.quantised_weight(small)
        assert scales.astype(np.float16).astype(np.float32).tolist() == scales.tolist()
        error = np.abs(levels * scales[:, None, None, None] - small).max()
        assert error <= scales[0] / 2 * 1.001
        # no value is cut off, and the range is used but for one step of float16
        assert np.abs(levels).max() >= 127 - 127 * max(2.0**-10, 2.0**-24 / (size / 127)) - 1


@pytest.mark.parametrize("value", [1.0, 0.1, 1e-5, 1e-7, 0.0, 60000.1])
def test_float16_numbers_are_rounded_up(value: float) -> None:
    found = quantize.float16_at_least(np.array([value], np.float32))[0]
    assert np.float16(found) == found
    assert found >= np.float32(value)
    assert found == 2.0**-24 or np.nextafter(np.float16(found), np.float16(0)) < np.float32(value)


def test_only_the_trunks_convolutions_are_named() -> None:
    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 20]>
        backbone (float[B,2,H,W] x) => (float[B,2,H,W] y)
        <float[2,2,1,1] "backbone.body.conv1.weight" = {1,1,1,1}, float[2,2,1,1] "rpn_head.conv.weight" = {1,1,1,1}>
        { a = Conv (x, "backbone.body.conv1.weight") b = Relu (a) y = Conv (b, "rpn_head.conv.weight") }""")
    assert [node.output[0] for node in quantize.trunk_convolutions(model)] == ["a"]
    del model.graph.node[0]
    with pytest.raises(ContractError, match=r"no convolution with weights named backbone\.\*"):
        quantize.trunk_convolutions(model)


def images(folder: Path, count: int) -> None:
    for index in range(count):
        Image.new("RGB", (40 + index, 30)).save(folder / f"{index}.png")


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    images(tmp_path, quantize.MIN_IMAGES - 1)
    (tmp_path / "notes.txt").write_text("not an image")
    with pytest.raises(ContractError, match=r"got 7 images .*expected at least 8"):
        quantize.calibration_files(tmp_path)
    images(tmp_path, quantize.MIN_IMAGES)
    assert len(quantize.calibration_files(tmp_path)) == quantize.MIN_IMAGES


def test_images_come_as_the_contract_says(tmp_path: Path) -> None:
    images(tmp_path, 2)
    spec = PreprocessingSpec(64, 96, ((64, 96), (96, 64)))
    found = list(quantize.canvases(quantize_files(tmp_path), spec))
    assert [tensors["canvas"].shape for tensors in found] == [(1, 64, 96, 3)] * 2
    assert found[0]["image_info"].tolist() == [[64, 85, np.float32(64 / 30), np.float32(85 / 40), 30, 40]]


def quantize_files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    with pytest.raises(ContractError, match=r"broken\.jpg.*remove it from the calibration images"):
        list(quantize.canvases([tmp_path / "broken.jpg"], PreprocessingSpec()))
