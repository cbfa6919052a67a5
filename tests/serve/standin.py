"""A stand-in artifact: tiny ONNX stages with the real names, types and shapes, and answers a test can foresee.

The number of objects is the red value of the canvas' top-left pixel (at most D), so a picture of one colour says how
many objects it has, in any slot of any batch. Object d lies in cell (d // 10, d % 10) of a 10 x 10 grid over the
picture, has score 0.99 - 0.005 d (or another best score) and class d modulo K; its mask is solid where column < M / 2,
and empty elsewhere. Its keypoint j lies at (j + 1) / (J + 1) of its width and half its height; probability 1 / (j + 1).

Letters: B images, C channels, A anchors a cell, D detections an image, J keypoints, K classes, M mask side, H W canvas.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from io import BytesIO
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
from maskline_train.spec import (
    AnchorSpec,
    BackboneSpec,
    KeypointHeadSpec,
    MaskHeadSpec,
    ModelSpec,
    PreprocessingSpec,
)
from PIL import Image

GRID = 10
PYRAMID = ("p2", "p3", "p4", "p5")

SPEC = ModelSpec(
    classes=("square", "circle", "star"),
    preprocessing=PreprocessingSpec(64, 96, ((64, 96), (96, 64), (96, 96))),
    backbone=BackboneSpec(fpn_channels=8),
    mask_head=MaskHeadSpec(pooled_side=7),
)

_POINTS = KeypointHeadSpec(names=("nose", "left ear", "right ear"), flip_pairs=(("left ear", "right ear"),))
_ONE_LEVEL = AnchorSpec(sizes_px=(32.0,))
# Every set of outputs, and every kind of features.
VARIANTS = {
    "masks and keypoints": dataclasses.replace(SPEC, keypoint_head=_POINTS),
    "keypoints on c5": dataclasses.replace(
        SPEC,
        backbone=BackboneSpec(features="c5", fpn_channels=8),
        anchors=_ONE_LEVEL,
        mask_head=None,
        keypoint_head=_POINTS,
    ),
    "boxes on c4": dataclasses.replace(
        SPEC, backbone=BackboneSpec(features="c4", fpn_channels=8), anchors=_ONE_LEVEL, mask_head=None
    ),
}


def features(spec: ModelSpec) -> tuple[str, ...]:
    """What the heads read."""
    return PYRAMID if spec.backbone.features == "fpn" else (spec.backbone.features,)


def strides(spec: ModelSpec) -> dict[str, int]:
    """Level of the region proposal network -> its stride."""
    levels = (*PYRAMID, "p6") if spec.backbone.features == "fpn" else features(spec)
    return {level: 2 ** int(level[1]) for level in levels}


def picture(num_objects: int, size: tuple[int, int] = (48, 72), image_format: str = "PNG") -> bytes:
    """An image file of one colour that asks the stand-in for that many objects; JPEG keeps the colour too."""
    file = BytesIO()
    Image.new("RGB", (size[1], size[0]), (num_objects, num_objects, num_objects)).save(file, image_format)
    return file.getvalue()


def expected_boxes(num_objects: int, size: tuple[int, int]) -> np.ndarray:
    """Boxes of the first objects, [num_objects,4] float64 xyxy in a picture of that (height, width)."""
    cells = np.arange(num_objects)
    x0, y0 = cells % GRID, cells // GRID
    height, width = size
    return np.stack([x0, y0, x0 + 1, y0 + 1], axis=1) * np.array([width, height, width, height]) / GRID


def expected_mask(size: tuple[int, int], index: int) -> np.ndarray:
    """The pasted mask of object `index`, [h,w] bool, for sizes that are multiples of 20: the left half of its cell."""
    mask = np.zeros(size, bool)
    cell_h, cell_w = size[0] // GRID, size[1] // GRID
    y0, x0 = index // GRID * cell_h, index % GRID * cell_w
    mask[y0 : y0 + cell_h, x0 : x0 + cell_w // 2] = True
    return mask


def expected_keypoints(num_objects: int, size: tuple[int, int], num_keypoints: int) -> np.ndarray:
    """Keypoints of the first objects, [num_objects,J,3] float64 x, y, probability in a picture of that size."""
    x0, y0, x1, y1 = expected_boxes(num_objects, size).T[:, :, None]
    j = np.arange(num_keypoints)[None, :]
    x = x0 + (x1 - x0) * (j + 1) / (num_keypoints + 1)
    return np.stack([x, np.broadcast_to((y0 + y1) / 2, x.shape), np.broadcast_to(1 / (j + 1), x.shape)], axis=2)


def write_artifact(folder: Path, spec: ModelSpec = SPEC, best_score: float = 0.99) -> Path:
    """Write the stand-in as an artifact folder (docs/architecture.md) and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    stages = {"backbone": backbone_model(spec), "proposal": proposal_model(spec, best_score)}
    if spec.mask_head is not None:
        stages["mask"] = mask_model(spec)
    if spec.keypoint_head is not None:
        stages["keypoint"] = keypoint_model(spec)
    labels = "".join(f"{name}\n" for name in spec.classes)
    (folder / "labels.txt").write_text(labels, encoding="utf-8")
    entries = {}
    for name, model in stages.items():
        onnx.save(model, folder / f"{name}.onnx")
        entries[name] = {
            "file": f"{name}.onnx",
            "sha256": hashlib.sha256((folder / f"{name}.onnx").read_bytes()).hexdigest(),
            "custom_ops": {},
            "inputs": [_tensor(value) for value in model.graph.input],
            "outputs": [_tensor(value) for value in model.graph.output],
        }
    manifest = {
        "format": "maskline-artifact/1",
        "maskline": "0.1.0",
        "spec": spec.to_dict(),
        "bodies": "ort",
        "precision": "fp32",
        "opset": 20,
        "tools": {"onnx": onnx.__version__},
        "checkpoint_sha256": "0" * 64,
        "labels": {"file": "labels.txt", "sha256": hashlib.sha256(labels.encode()).hexdigest()},
        "stages": entries,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return folder


def backbone_model(spec: ModelSpec) -> onnx.ModelProto:
    """Zeros of the right shapes; the first feature carries the top-left pixel's red value everywhere."""
    channels, anchors = spec.backbone.fpn_channels, len(spec.anchors.aspect_ratios)
    outputs, lines = [], []
    for level, stride in strides(spec).items():
        maps = {f"rpn_logits_{level}": anchors, f"rpn_deltas_{level}": 4 * anchors}
        if level in features(spec):
            maps = {level: channels, **maps}
        lines.append(f"side_{level} = Constant <value = int64 {{{stride}}}> ()")
        lines.append(f"less_{level} = Constant <value = int64 {{{stride - 1}}}> ()")
        lines.append(f"sum_{level} = Add (canvas_hw, less_{level})")
        lines.append(f"hw_{level} = Div (sum_{level}, side_{level})")
        for name, count in maps.items():
            lines.append(f"c_{name} = Constant <value = int64[1] {{{count}}}> ()")
            lines.append(f"shape_{name} = Concat <axis = 0> (batch, c_{name}, hw_{level})")
            lines.append(f"{name} = Expand ({'red' if name == features(spec)[0] else 'zero'}, shape_{name})")
            outputs.append(f"float[B,{count},H_{level},W_{level}] {name}")
    outputs.sort(key=lambda text: ("logits" in text) + 2 * ("deltas" in text))
    return _model(
        "backbone",
        "uint8[B,H,W,3] canvas, float[B,6] image_info",
        ", ".join(outputs),
        [
            "batch = Shape <start = 0, end = 1> (canvas)",
            "canvas_hw = Shape <start = 1, end = 3> (canvas)",
            "from = Constant <value = int64[3] {0, 0, 0}> ()",
            "to = Constant <value = int64[3] {1, 1, 1}> ()",
            "axes = Constant <value = int64[3] {1, 2, 3}> ()",
            "corner = Slice (canvas, from, to, axes)",
            "red = Cast <to = 1> (corner)",
            "zero = Constant <value = float {0.0}> ()",
            *lines,
        ],
    )


def proposal_model(spec: ModelSpec, best_score: float = 0.99) -> onnx.ModelProto:
    """Boxes of the grid scaled to the resized picture, cut at the count that the first feature carries."""
    rows = spec.box_head.max_detections
    channels, anchors = spec.backbone.fpn_channels, len(spec.anchors.aspect_ratios)
    inputs = [f"float[B,{channels},H_{level},W_{level}] {level}" for level in features(spec)]
    inputs += [f"float[B,{anchors},H_{level},W_{level}] rpn_logits_{level}" for level in strides(spec)]
    inputs += [f"float[B,{4 * anchors},H_{level},W_{level}] rpn_deltas_{level}" for level in strides(spec)]
    grid = expected_boxes(rows, (1, 1)).ravel()
    scores = [best_score - 0.005 * d for d in range(rows)]
    labels = [d % spec.num_classes for d in range(rows)]
    return _model(
        "proposal",
        ", ".join([*inputs, "float[B,6] image_info"]),
        f"float[B,{rows},4] boxes, float[B,{rows}] scores, int32[B,{rows}] labels, int32[B,1] num_detections",
        [
            "from = Constant <value = int64[3] {0, 0, 0}> ()",
            "to = Constant <value = int64[3] {1, 1, 1}> ()",
            "axes = Constant <value = int64[3] {1, 2, 3}> ()",
            f"corner = Slice ({features(spec)[0]}, from, to, axes)",
            "flat = Constant <value = int64[2] {-1, 1}> ()",
            "red = Reshape (corner, flat)",
            f"rows = Constant <value = float {{{float(rows)}}}> ()",
            "count = Min (red, rows)",
            "num_detections = Cast <to = 6> (count)",
            f"index = Constant <value = float[1,{rows}] {{{_numbers(range(rows))}}}> ()",
            "real = Less (index, count)",
            "order = Constant <value = int64[4] {1, 0, 1, 0}> ()",
            "sides = Gather <axis = 1> (image_info, order)",
            "box_shape = Constant <value = int64[3] {-1, 1, 4}> ()",
            "scale = Reshape (sides, box_shape)",
            f"grid = Constant <value = float[1,{rows},4] {{{_numbers(grid)}}}> ()",
            "all_boxes = Mul (grid, scale)",
            "last = Constant <value = int64[1] {2}> ()",
            "real_3d = Unsqueeze (real, last)",
            "zero = Constant <value = float {0.0}> ()",
            "padding = Constant <value = int32 {-1}> ()",
            f"all_scores = Constant <value = float[1,{rows}] {{{_numbers(scores)}}}> ()",
            f"all_labels = Constant <value = int32[1,{rows}] {{{', '.join(map(str, labels))}}}> ()",
            "boxes = Where (real_3d, all_boxes, zero)",
            "scores = Where (real, all_scores, zero)",
            "labels = Where (real, all_labels, padding)",
        ],
    )


def head_inputs(spec: ModelSpec) -> str:
    """What the mask and the keypoint stage read."""
    rows, channels = spec.box_head.max_detections, spec.backbone.fpn_channels
    inputs = [f"float[B,{channels},H_{level},W_{level}] {level}" for level in features(spec)]
    return ", ".join([*inputs, f"float[B,{rows},4] boxes, int32[B,{rows}] labels"])


def mask_model(spec: ModelSpec) -> onnx.ModelProto:
    """Left half solid where the label is a class, zero where it is padding."""
    assert spec.mask_head is not None
    rows, side = spec.box_head.max_detections, spec.mask_head.mask_side
    half = ", ".join(str(float(column < side // 2)) for column in range(side))
    return _model(
        "mask",
        head_inputs(spec),
        f"float[B,{rows},{side},{side}] masks",
        [
            "batch = Shape <start = 0, end = 1> (labels)",
            f"rest = Constant <value = int64[3] {{{rows}, {side}, {side}}}> ()",
            "shape = Concat <axis = 0> (batch, rest)",
            f"half = Constant <value = float[{side}] {{{half}}}> ()",
            "solid = Expand (half, shape)",
            "zero_label = Constant <value = int32 {0}> ()",
            "real = GreaterOrEqual (labels, zero_label)",
            "axes = Constant <value = int64[2] {2, 3}> ()",
            "real_4d = Unsqueeze (real, axes)",
            "zero = Constant <value = float {0.0}> ()",
            "masks = Where (real_4d, solid, zero)",
        ],
    )


def keypoint_model(spec: ModelSpec) -> onnx.ModelProto:
    """Points on the horizontal middle line of each box, zero where the label is padding."""
    assert spec.keypoint_head is not None
    rows, count = spec.box_head.max_detections, len(spec.keypoint_head.names)
    # A keypoint is a fixed mix of x0, y0, x1, y1 and 1: boxes [B,D,1,5] times [5,3 J].
    mix = np.zeros((5, count, 3))
    j = np.arange(count)
    mix[0, :, 0], mix[2, :, 0] = 1 - (j + 1) / (count + 1), (j + 1) / (count + 1)
    mix[1, :, 1] = mix[3, :, 1] = 0.5
    mix[4, :, 2] = 1 / (j + 1)
    return _model(
        "keypoint",
        head_inputs(spec),
        f"float[B,{rows},{count},3] keypoints",
        [
            f"mix = Constant <value = float[5,{3 * count}] {{{_numbers(mix.ravel())}}}> ()",
            "zero_label = Constant <value = int32 {0}> ()",
            "real = GreaterOrEqual (labels, zero_label)",
            "ones = Cast <to = 1> (real)",
            "last = Constant <value = int64[1] {2}> ()",
            "column = Unsqueeze (ones, last)",
            "known = Concat <axis = 2> (boxes, column)",
            "flat = MatMul (known, mix)",
            f"shape = Constant <value = int64[4] {{0, 0, {count}, 3}}> ()",
            "keypoints = Reshape (flat, shape)",
        ],
    )


def _numbers(values: object) -> str:
    return ", ".join(f"{float(value):.9g}" if float(value) % 1 else f"{int(value)}.0" for value in values)  # type: ignore[attr-defined]


def _model(name: str, inputs: str, outputs: str, lines: list[str]) -> onnx.ModelProto:
    """Parse ONNX's text form and check it."""
    body = "\n".join(lines)
    text = f'<ir_version: 10, opset_import: ["" : 20]>\n{name} ({inputs}) => ({outputs}) {{\n{body}\n}}'
    model = onnx.parser.parse_model(text)
    onnx.checker.check_model(model, full_check=True)
    return model


def _tensor(value: onnx.ValueInfoProto) -> dict[str, object]:
    """A manifest entry: name, dtype as Triton writes it, shape with symbolic names."""
    kinds = {onnx.TensorProto.UINT8: "UINT8", onnx.TensorProto.FLOAT: "FP32", onnx.TensorProto.INT32: "INT32"}
    tensor = value.type.tensor_type
    shape = [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]
    return {"name": value.name, "dtype": kinds[tensor.elem_type], "shape": shape}
