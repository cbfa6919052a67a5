"""What an exported stage must pass before it is published.

onnx.checker, the contract of its tensors, its op nodes, and a run of all stages in ONNX Runtime.

Letters: B images, H W canvas.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto

from maskline_export.custom_ops.body import DOMAIN
from maskline_export.errors import ContractError
from maskline_export.manifest import StageInfo, TensorInfo
from maskline_export.onnx_file import load_onnx
from maskline_export.onnx_stages import stage_io

# The dtypes of stages in the vocabularies that meet here; numpy has no bfloat16, and ONNX Runtime's CPU path neither.
ONNX_DTYPES = {
    "UINT8": TensorProto.UINT8,
    "FP32": TensorProto.FLOAT,
    "INT32": TensorProto.INT32,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
}
NUMPY_DTYPES: dict[str, np.dtype[Any]] = {
    "UINT8": np.dtype(np.uint8),
    "FP32": np.dtype(np.float32),
    "INT32": np.dtype(np.int32),
    "FP16": np.dtype(np.float16),
}

# Two runs of unlike shape, none of them the shape that was traced, before they are rounded up to the model's multiple:
# to 128 x 96 and 32 x 64 for a pyramid; a model without padding may get a single row.
_RUNS = ((1, 125, 90), (3, 1, 61))

Tensors = dict[str, npt.NDArray[np.generic]]


def check_stage(path: Path, info: StageInfo) -> None:
    """Check one file against the contract.

    Args:
        path: the ONNX file.
        info: its tensors, as the contract has them.

    Raises:
        ContractError: data lie in another file, the checker refuses it, a tensor differs, or an op node lacks an
            attribute or its body.
    """
    model = load_onnx(path)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ContractError(f"{path.name}: onnx.checker refuses it: {error}") from error
    for side, values, expected in (
        ("inputs", model.graph.input, info.inputs),
        ("outputs", model.graph.output, info.outputs),
    ):
        found = tuple(describe(value) for value in values)
        if found != expected:
            wrong = next((pair for pair in zip(found, expected, strict=False) if pair[0] != pair[1]), (found, expected))
            raise ContractError(f"{path.name} {side}: got {wrong[0]}, expected {wrong[1]}")
    check_op_nodes(model, path.name)


def check_op_nodes(model: onnx.ModelProto, name: str) -> None:
    """Every node of our domain must have a body in the file and carry every attribute that the body declares.

    Raises:
        ContractError: one does not.
    """
    bodies = {function.name: function for function in model.functions if function.domain == DOMAIN}
    for node in model.graph.node:
        if node.domain != DOMAIN:
            continue
        if node.op_type not in bodies:
            raise ContractError(f"{name}: node {node.op_type} has no body, expected one of {sorted(bodies)}")
        missing = set(bodies[node.op_type].attribute) - {attribute.name for attribute in node.attribute}
        if missing:
            raise ContractError(f"{name}: node {node.op_type} lacks the attributes {sorted(missing)}")


def describe(value: onnx.ValueInfoProto) -> TensorInfo:
    """A graph input or output in the manifest's words."""
    names: dict[int, str] = {number: name for name, number in ONNX_DTYPES.items()}
    tensor = value.type.tensor_type
    dims = tuple(dim.dim_param or dim.dim_value for dim in tensor.shape.dim)
    return TensorInfo(value.name, names.get(tensor.elem_type, f"ONNX type {tensor.elem_type}"), dims)


def custom_ops(model: onnx.ModelProto) -> dict[str, int]:
    """How many nodes of each of our ops the graph holds, by op type."""
    return dict(sorted(Counter(node.op_type for node in model.graph.node if node.domain == DOMAIN).items()))


def run_stages(folder: Path, stages: dict[str, StageInfo], multiple: int) -> None:
    """Run the files one after the other on made images of several batch and canvas sizes.

    Args:
        folder: where the files are.
        stages: what each gives, by name, in the order in which they run.
        multiple: what every side of a canvas is a multiple of.

    Raises:
        ContractError: ONNX Runtime refuses a file, or an output has another dtype or shape than the contract says, or
            a value that is not finite.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3  # its warnings about initialisers say nothing to a user
    try:
        sessions = {
            name: ort.InferenceSession(
                load_onnx(folder / stage.file).SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            for name, stage in stages.items()
        }
        for batch, *size in _RUNS:
            height, width = (multiple * -(-side // multiple) for side in size)
            tensors = made_image(batch, height, width)
            for name, session in sessions.items():
                outputs = session.run(None, {value.name: tensors[value.name] for value in session.get_inputs()})
                found = dict(zip((value.name for value in session.get_outputs()), outputs, strict=True))
                _check_outputs(name, found, stages[name].outputs, stage_io.sizes(batch, height, width))
                tensors |= found
    except ContractError:
        raise
    except Exception as error:  # ONNX Runtime's own exceptions share no base class below Exception
        raise ContractError(f"ONNX Runtime refuses the exported files: {' '.join(str(error).split())}") from error


def made_image(batch: int, height: int, width: int) -> Tensors:
    """Canvases of seeded noise and their image_info; the image ends 8 px before the canvas does, or with it."""
    rng = np.random.default_rng(0)
    canvas = rng.integers(0, 256, (batch, height, width, 3), dtype=np.uint8)
    size = [side - 8 if side > 8 else side for side in (height, width)]
    info = np.tile(np.array([*size, 1, 1, *size], dtype=np.float32), (batch, 1))
    return {"canvas": canvas, "image_info": info}


def _check_outputs(stage: str, found: Tensors, expected: tuple[TensorInfo, ...], sizes: dict[str, int]) -> None:
    for tensor in expected:
        array = found[tensor.name]
        shape = tuple(sizes[dim] if isinstance(dim, str) else dim for dim in tensor.shape)
        if array.dtype != NUMPY_DTYPES[tensor.dtype] or array.shape != shape:
            raise ContractError(
                f"{stage} output {tensor.name}: got {array.dtype} {list(array.shape)}, "
                f"expected {tensor.dtype} {list(shape)}"
            )
        if tensor.dtype in ("FP32", "FP16") and not np.isfinite(array).all():
            advice = "check the checkpoint's weights" if tensor.dtype == "FP32" else "use --precision bf16"
            raise ContractError(
                f"{stage} output {tensor.name}: got values that are not finite, expected finite ones; {advice}"
            )
