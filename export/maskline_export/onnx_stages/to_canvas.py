"""The two small graphs by which the server brings a decoded picture to its canvas where it lies, on a GPU or a CPU.

Written once, into the model `preprocess`, which has no `onnx` to make them with:

    python -m maskline_export.onnx_stages.to_canvas triton_repo/models/preprocess/1

An axis is resized at a time, the last one, and the picture is turned in between. ONNX Runtime's CUDA provider has the
antialiased filter of uint8 for planes alone, and where both axes are resized at once some of its releases leave lines
between the two passes unfilled (https://github.com/microsoft/onnxruntime/issues/25264). Pillow does likewise: across,
then down, each rounded to 8 bits. CUDA has no Pad of uint8, so the rest of a canvas is joined on.

Letters: H W the picture, h w the size it is brought to, Y X the canvas.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import onnx
from onnx import NodeProto, TensorProto, helper

OPSET, IR_VERSION = 18, 10  # the first opset with `antialias`; ONNX Runtime's CUDA provider has it since 1.18
FILES = {True: "antialiased.onnx", False: "plain.onnx"}
_INPUTS: dict[str, tuple[int, list[int | str]]] = {
    "picture": (TensorProto.UINT8, [1, 3, "H", "W"]),
    "across": (TensorProto.INT64, [4]),  # 1, 3, H, w
    "down": (TensorProto.INT64, [4]),  # 1, 3, w, h
    "right": (TensorProto.INT64, [4]),  # 1, h, X - w, 3
    "below": (TensorProto.INT64, [4]),  # 1, Y - h, X, 3
}


def canvas_graph(antialias: bool) -> onnx.ModelProto:
    """The graph: planes of a picture, uint8 [1,3,H,W], to a canvas, uint8 [1,Y,X,3], zero outside of [h,w].

    Args:
        antialias: Pillow's bilinear filter on 8 bits; else bilinear between pixel centres on floats, rounded once,
            halves to even: `torch`, and `cv2` but for its weights of 1/2048.
    """
    # exclude_outside: weights beyond the edge are left out and the others add up to 1, as Pillow's.
    how: dict[str, Any] = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    how |= {"antialias": 1, "exclude_outside": 1} if antialias else {}
    first, last = ("picture", "turned") if antialias else ("floats", "bytes")
    nodes = [
        helper.make_node("Resize", [first, "", "", "across"], ["wide"], **how),
        helper.make_node("Transpose", ["wide"], ["columns"], perm=[0, 1, 3, 2]),
        helper.make_node("Resize", ["columns", "", "", "down"], ["turned"], **how),
        helper.make_node("Transpose", [last], ["pixels"], perm=[0, 3, 2, 1]),
        _zeros("right", "beside"),
        helper.make_node("Concat", ["pixels", "beside"], ["lines"], axis=2),
        _zeros("below", "under"),
        helper.make_node("Concat", ["lines", "under"], ["canvas"], axis=1),
    ]
    if not antialias:
        nodes.insert(0, helper.make_node("Cast", ["picture"], ["floats"], to=TensorProto.FLOAT))
        nodes[4:4] = [
            helper.make_node("Round", ["turned"], ["rounded"]),
            helper.make_node("Cast", ["rounded"], ["bytes"], to=TensorProto.UINT8),
        ]
    inputs = [helper.make_tensor_value_info(name, dtype, shape) for name, (dtype, shape) in _INPUTS.items()]
    output = helper.make_tensor_value_info("canvas", TensorProto.UINT8, [1, "Y", "X", 3])
    graph = helper.make_graph(nodes, "canvas", inputs, [output])
    model = helper.make_model(
        graph, producer_name="maskline", ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
    )
    onnx.checker.check_model(model)
    return model


def _zeros(shape: str, name: str) -> NodeProto:
    return helper.make_node(
        "ConstantOfShape", [shape], [name], value=helper.make_tensor("", TensorProto.UINT8, [1], [0])
    )


if __name__ == "__main__":
    for antialiased, file in FILES.items():
        Path(sys.argv[1], file).write_bytes(canvas_graph(antialiased).SerializeToString(deterministic=True))
