"""int8 for the trunk: ranges from real images, then Q/DQ nodes around the convolutions of ResNet body and FPN.

Nothing else is quantised: detectors lose most where the regression is rounded, so the RPN head, both heads and all
geometry keep their precision. Activations get one symmetric scale a tensor, weights one a channel, as TensorRT wants
them; only inputs of convolutions are quantised, and a convolution's bias stays a float. The calibration and the nodes
are ONNX Runtime's; scales are then moved to float16 numbers, so that the rest of the graph can be fp16 (precision.py).
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from maskline_train.data.canvas import preprocess
from maskline_train.data.errors import ImageError
from maskline_train.data.images import decode_image
from maskline_train.files import naming
from maskline_train.spec import PreprocessingSpec
from onnx import numpy_helper

from maskline_export.errors import ContractError
from maskline_export.onnx_file import load_onnx

MIN_IMAGES = 8  # fewer see too little of what the network answers with; some hundred are better
TRUNK = "backbone."  # weights of body and FPN start with it, as in `MaskRCNN.state_dict()`
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp")
_LEVELS = 127  # symmetric int8: -127..127

Tensors = dict[str, npt.NDArray[np.generic]]


def calibration_files(folder: Path) -> list[Path]:
    """The image files of a folder, in the order of their names.

    Raises:
        ContractError: no such folder, or fewer than `MIN_IMAGES` images in it.
    """
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in _IMAGE_SUFFIXES)
    if len(files) < MIN_IMAGES:
        raise ContractError(
            f"{folder}: got {len(files)} images (JPEG, PNG, WebP), expected at least {MIN_IMAGES}; name a folder with "
            "images like those that will be served, some hundred if there are"
        )
    return files


def canvases(files: list[Path], spec: PreprocessingSpec) -> Iterator[Tensors]:
    """One image after the other as the backbone stage takes it: `canvas` [1, H, W, 3] and `image_info` [1, 6].

    Raises:
        ContractError: a file is no image that can be read.
    """
    for file in files:
        try:
            yield as_stage_input(decode_image(file), spec)
        except ImageError as error:
            raise ContractError(f"{error}; remove it from the calibration images") from error


def as_stage_input(pixels: npt.NDArray[np.uint8], spec: PreprocessingSpec) -> Tensors:
    """An image [H, W, 3] uint8 RGB as the backbone stage takes it, in a batch of its own."""
    canvas, info = preprocess(pixels, spec)
    return {"canvas": canvas[None], "image_info": info[None]}


def quantised(
    model: onnx.ModelProto, images: Iterator[Tensors], on_image: Callable[[], None] = lambda: None
) -> onnx.ModelProto:
    """The backbone stage with Q/DQ nodes around the trunk's convolutions.

    Args:
        model: the float32 stage.
        images: inputs of the stage, one image at a time; each is run once.
        on_image: called when an image is done.

    Raises:
        ContractError: the stage has no convolution of the trunk.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Hands over one image a call; None ends the calibration."""

        def __init__(self) -> None:
            self._started = False

        def get_next(self) -> Tensors | None:
            if self._started:
                on_image()
            self._started = True
            return next(images, None)

    names = [node.name for node in trunk_convolutions(model)]
    with tempfile.TemporaryDirectory() as folder, naming(Path(folder)), _without_advice():
        source, path = Path(folder) / "source.onnx", Path(folder) / "quantised.onnx"
        onnx.save(model, source)  # a model in memory would come back changed
        quantize_static(
            source,
            path,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_quantize=names,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "OpTypesToExcludeOutputQuantization": ["Conv"],
            },
        )
        found = load_onnx(path)
    return _finish(found, model)


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """Keep ONNX Runtime's advice to preprocess off the terminal: our norms are folded and our shapes known."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def trunk_convolutions(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The convolutions of ResNet body and FPN: those whose weights are the trunk's.

    Raises:
        ContractError: none, so this is not a backbone stage.
    """
    found: list[onnx.NodeProto] = [
        node for node in model.graph.node if node.op_type == "Conv" and node.input[1].startswith(TRUNK)
    ]
    if not found:
        raise ContractError(
            f"{model.graph.name}.onnx: got no convolution with weights named {TRUNK}*, expected the backbone stage; "
            "export the checkpoint again"
        )
    return found


def _finish(found: onnx.ModelProto, source: onnx.ModelProto) -> onnx.ModelProto:
    """The quantised graph under the source's name and producer, with scales that are float16 numbers."""
    model = onnx.ModelProto()
    model.CopyFrom(source)
    model.graph.ClearField("node")
    model.graph.node.extend(found.graph.node)
    weights = {weight.name: numpy_helper.to_array(weight) for weight in source.graph.initializer}
    new = {tensor.name: tensor for tensor in found.graph.initializer}
    for convolution in trunk_convolutions(source):
        name = convolution.input[1]
        levels, scales = quantised_weight(weights[name])
        new[f"{name}_quantized"] = numpy_helper.from_array(levels, f"{name}_quantized")
        new[f"{name}_scale"] = numpy_helper.from_array(scales, f"{name}_scale")
        scale = f"{convolution.input[0]}_scale"
        new[scale] = numpy_helper.from_array(float16_at_least(numpy_helper.to_array(new[scale])), scale)
    model.graph.ClearField("initializer")
    model.graph.initializer.extend(new.values())
    return model


def quantised_weight(weight: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Levels [O, I, h, w] in -127..127 and scales [O] of a convolution's weights, one scale an output channel.

    The scale is rounded up to a float16 number before the weights are divided by it: rounding it afterwards would move
    every weight of a channel with small weights, since float16 is coarse below 6e-5.
    """
    largest = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    scales = float16_at_least(largest / np.float32(_LEVELS))
    levels = np.rint(weight / scales.reshape(-1, 1, 1, 1))
    return np.clip(levels, -_LEVELS, _LEVELS).astype(np.int8), scales


def float16_at_least(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The smallest positive float16 numbers that are not below these non-negative values, as float32."""
    rounded = np.maximum(values.astype(np.float16), np.float16(2.0**-24))
    below = rounded.astype(np.float32) < values
    return np.where(below, np.nextafter(rounded, np.float16(np.inf)), rounded).astype(np.float32)
