"""The tensors of each stage as docs/architecture.md has them: names, dtypes, shapes.

Symbols in shapes: B images, H W canvas, and H2 W2 to H6 W6 for the cells of level i. Everything else is a number.

Letters: B images, A anchors a cell, D detections an image, C channels, Hi Wi level i, M mask side.
"""

from __future__ import annotations

from maskline_train.spec import CANVAS_MULTIPLE, NUM_ROI_LEVELS, STRIDES, ModelSpec

from maskline_export.manifest import TensorInfo

STAGES = ("backbone", "proposal", "mask")
ROI_LEVELS = tuple(range(2, 2 + NUM_ROI_LEVELS))  # P2 to P5
RPN_LEVELS = tuple(range(2, 2 + len(STRIDES)))  # P2 to P6

IMAGE_INFO = TensorInfo("image_info", "FP32", ("B", 6))


def features(spec: ModelSpec) -> tuple[TensorInfo, ...]:
    """P2 to P5."""
    return tuple(_map(f"p{level}", spec.backbone.fpn_channels, level) for level in ROI_LEVELS)


def rpn_outputs(spec: ModelSpec) -> tuple[TensorInfo, ...]:
    """Logits of P2 to P6, then deltas of P2 to P6."""
    anchors = len(spec.anchors.aspect_ratios)
    logits = (_map(f"rpn_logits_p{level}", anchors, level) for level in RPN_LEVELS)
    deltas = (_map(f"rpn_deltas_p{level}", 4 * anchors, level) for level in RPN_LEVELS)
    return (*logits, *deltas)


def backbone_inputs() -> tuple[TensorInfo, ...]:
    """The canvas and image_info."""
    return (TensorInfo("canvas", "UINT8", ("B", "H", "W", 3)), IMAGE_INFO)


def detections(spec: ModelSpec) -> tuple[TensorInfo, ...]:
    """What the proposal stage returns."""
    d = spec.box_head.max_detections
    return (
        TensorInfo("boxes", "FP32", ("B", d, 4)),
        TensorInfo("scores", "FP32", ("B", d)),
        TensorInfo("labels", "INT32", ("B", d)),
        TensorInfo("num_detections", "INT32", ("B", 1)),
    )


def mask_inputs(spec: ModelSpec) -> tuple[TensorInfo, ...]:
    """The pyramid, boxes and labels."""
    return (*features(spec), *(tensor for tensor in detections(spec) if tensor.name in ("boxes", "labels")))


def masks(spec: ModelSpec) -> tuple[TensorInfo, ...]:
    """What the mask stage returns."""
    assert spec.mask_head is not None
    side = spec.mask_head.mask_side
    return (TensorInfo("masks", "UINT8", ("B", spec.box_head.max_detections, side, side)),)


def sizes(batch: int, height: int, width: int) -> dict[str, int]:
    """The number behind each symbol for a batch of canvases.

    Args:
        batch: B.
        height: of the canvas, a multiple of 32.
        width: of the canvas, a multiple of 32.
    """
    if height % CANVAS_MULTIPLE or width % CANVAS_MULTIPLE:
        raise ValueError(f"canvas: got {height} x {width}, expected multiples of {CANVAS_MULTIPLE}")
    found = {"B": batch, "H": height, "W": width}
    for level, stride in zip(RPN_LEVELS, STRIDES, strict=True):
        found[f"H{level}"], found[f"W{level}"] = -(-height // stride), -(-width // stride)
    return found


def _map(name: str, channels: int, level: int) -> TensorInfo:
    return TensorInfo(name, "FP32", ("B", channels, f"H{level}", f"W{level}"))
