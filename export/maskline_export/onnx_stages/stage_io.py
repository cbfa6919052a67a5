"""The tensors of each stage as docs/architecture.md has them: names, dtypes, shapes.

Symbols in shapes: B images, H W canvas, and H2 W2 to H6 W6 for the cells of level i. Everything else is a number.

Letters: B images, A anchors a cell, D detections an image, C channels, Hi Wi level i, M mask side, J keypoints.
"""

from __future__ import annotations

from maskline_train.spec import ModelSpec

from maskline_export.manifest import TensorInfo

_LEVELS = range(2, 7)  # every level that some body has: strides 4 to 64

IMAGE_INFO = TensorInfo("image_info", "FP32", ("B", 6))


def stage_names(spec: ModelSpec) -> tuple[str, ...]:
    """The stages of a model, in the order in which they run."""
    masks = ("mask",) if spec.mask_head is not None else ()
    keypoints = ("keypoint",) if spec.keypoint_head is not None else ()
    return ("backbone", "proposal", *masks, *keypoints)


def features(spec: ModelSpec) -> tuple[TensorInfo, ...]:
    """What the heads read: P2 to P5, or C4, or C5."""
    body = spec.backbone
    return tuple(
        _map(name, body.feature_channels, level)
        for name, level in zip(body.feature_names, body.roi_levels, strict=True)
    )


def rpn_outputs(spec: ModelSpec) -> tuple[TensorInfo, ...]:
    """Logits of every level that the region proposal network reads (P2 to P6, or C4, or C5), then their deltas."""
    body = spec.backbone
    anchors = spec.anchors.per_cell(len(body.rpn_levels))
    levels = list(zip(body.level_names, body.rpn_levels, strict=True))
    logits = (_map(f"rpn_logits_{name}", anchors, level) for name, level in levels)
    deltas = (_map(f"rpn_deltas_{name}", 4 * anchors, level) for name, level in levels)
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


def head_inputs(spec: ModelSpec) -> tuple[TensorInfo, ...]:
    """What the mask and the keypoint stage read: features, boxes and labels."""
    return (*features(spec), *(tensor for tensor in detections(spec) if tensor.name in ("boxes", "labels")))


def masks(spec: ModelSpec) -> tuple[TensorInfo, ...]:
    """What the mask stage returns."""
    assert spec.mask_head is not None
    side = spec.mask_head.mask_side
    return (TensorInfo("masks", "FP32", ("B", spec.box_head.max_detections, side, side)),)


def keypoints(spec: ModelSpec) -> tuple[TensorInfo, ...]:
    """What the keypoint stage returns."""
    assert spec.keypoint_head is not None
    return (TensorInfo("keypoints", "FP32", ("B", spec.box_head.max_detections, len(spec.keypoint_head.names), 3)),)


def sizes(batch: int, height: int, width: int) -> dict[str, int]:
    """The number behind each symbol for a batch of canvases.

    Args:
        batch: B.
        height: of the canvas; a level has as many rows as strides begin on it.
        width: of the canvas; likewise.
    """
    found = {"B": batch, "H": height, "W": width}
    for level in _LEVELS:
        found[f"H{level}"], found[f"W{level}"] = -(-height // 2**level), -(-width // 2**level)
    return found


def _map(name: str, channels: int, level: int) -> TensorInfo:
    return TensorInfo(name, "FP32", ("B", channels, f"H{level}", f"W{level}"))
