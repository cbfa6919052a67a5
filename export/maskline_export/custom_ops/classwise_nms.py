"""ClasswiseNMS: from the outputs of the box head to a fixed number of detections.

`ClasswiseNMS(class_logits [B*R,K+1], box_deltas [B*R,4K], proposals [B,R,4], num_proposals [B], image_info [B,6]) ->
boxes [B,D,4], scores [B,D], labels [B,D] int32, num_detections [B,1] int32`. Softmax (background last), class-specific
decode, clip to the resized image, score > threshold, drop small boxes, NMS within a class, best D by score. Ties: the
lower proposal, then the lower class. Rows past the count are zero, label -1.

Letters: B images, R proposals an image, K foreground classes, D detections an image, N candidates an image
(dense body).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import onnx

from maskline_export.custom_ops import box_math
from maskline_export.custom_ops.body import FLOAT, INT32, Body, Value, node_attributes

NAME = "ClasswiseNMS"
MAX_DENSE_CANDIDATES = 3840  # TensorRT's TopK takes no larger K

Array = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class ClasswiseNMS:
    """Attributes of a node, but for `max_proposals`, which bodies read from the shape of `proposals`."""

    num_classes: int  # K
    score_thresh: float
    nms_thresh: float
    max_detections: int  # D
    delta_weights: tuple[float, float, float, float]
    min_side: float  # px


@dataclasses.dataclass(frozen=True)
class Detections:
    """What the op returns, in numpy."""

    boxes: Array  # [B, D, 4]
    scores: Array  # [B, D]
    labels: npt.NDArray[np.int32]  # [B, D]
    num_detections: npt.NDArray[np.int32]  # [B, 1]


@dataclasses.dataclass(frozen=True)
class _Inputs:
    class_logits: Value
    box_deltas: Value
    proposals: Value
    num_proposals: Value
    image_info: Value


def body_ort(op: ClasswiseNMS, max_proposals: int) -> onnx.FunctionProto:
    """The body for ONNX Runtime: its NonMaxSuppression with (image, class) as the batch, R boxes each.

    NonMaxSuppression shares boxes over its classes; ours are class-specific, so a class is a batch entry of its own.

    Args:
        op: attributes.
        max_proposals: R.
    """
    body = Body(NAME)
    inputs = _declare(body)
    k, r = op.num_classes, max_proposals
    corners = _decode(body, op, r, inputs)  # [B, R, K] each
    scores = _scores(body, op, r, inputs, corners)  # [B, R, K], -1 where not a candidate
    by_class = box_math.stack(body, corners).transpose(0, 2, 1, 3).reshape(-1, r, 4)  # [B*K, R, 4]
    kept = box_math.keep_by_onnx_nms(body, by_class, scores.transpose(0, 2, 1).reshape(-1, r), op.nms_thresh)
    kept = kept.reshape(-1, k, r).transpose(0, 2, 1).reshape(-1, r * k)  # [B, R*K], order (proposal, class)
    rows, real, count = box_math.top_kept(body, scores.reshape(-1, r * k), kept, r * k, op.max_detections)
    boxes = box_math.rows_or_zero(body, box_math.stack(body, corners).reshape(-1, r * k, 4), rows, real)
    return _finish(body, op, inputs, boxes, scores.reshape(-1, r * k), rows, real, count)


def body_dense(op: ClasswiseNMS, max_proposals: int) -> onnx.FunctionProto:
    """The body of static shapes: the best N candidates, an N x N matrix of overlaps, the fixed point of greedy NMS.

    N is min(R*K, 3840). The result differs from the definition only where an image has more than N candidates above
    the score threshold *and* fewer than D of the best N survive.

    Args:
        op: attributes.
        max_proposals: R.
    """
    body = Body(NAME)
    inputs = _declare(body)
    k, r = op.num_classes, max_proposals
    n = min(r * k, MAX_DENSE_CANDIDATES)
    all_corners = _decode(body, op, r, inputs)
    all_scores = _scores(body, op, r, inputs, all_corners).reshape(-1, r * k)
    scores, flat = body.ops(2, "TopK", all_scores, body.ints([n]), axis=1)  # [B, N]
    x0, y0, x1, y1 = (body.op("GatherElements", corner.reshape(-1, r * k), flat, axis=1) for corner in all_corners)
    labels = flat - (flat // k) * k
    same = labels.unsqueeze(2).equal(labels.unsqueeze(1))
    pairs = box_math.pairs_above(body, (x0, y0, x1, y1), op.nms_thresh, n) & same
    kept = box_math.keep_by_fixed_point(body, pairs.cast(FLOAT), (scores > 0.0).cast(FLOAT), n)
    rows, real, count = box_math.top_kept(body, scores, kept, n, op.max_detections)
    boxes = box_math.rows_or_zero(body, box_math.stack(body, (x0, y0, x1, y1)), rows, real)
    flat_rows = body.op("GatherElements", flat, rows, axis=1)
    return _finish(body, op, inputs, boxes, all_scores, flat_rows, real, count)


def _declare(body: Body) -> _Inputs:
    return _Inputs(**{field.name: body.input(field.name) for field in dataclasses.fields(_Inputs)})


def _decode(body: Body, op: ClasswiseNMS, max_proposals: int, inputs: _Inputs) -> box_math.Corners:
    """Class-specific boxes, four values [B, R, K]."""
    deltas = inputs.box_deltas.reshape(-1, max_proposals, op.num_classes, 4)
    x0, y0, x1, y1 = (inputs.proposals.slice(2, j, j + 1) for j in range(4))  # [B, R, 1] each
    info = inputs.image_info
    image_size = (info.slice(1, 0, 1).unsqueeze(2), info.slice(1, 1, 2).unsqueeze(2))  # [B, 1, 1] each
    weights = op.delta_weights
    return box_math.decode(body, (x0, y0, x1, y1), [deltas.column(j) for j in range(4)], weights, image_size)


def _scores(body: Body, op: ClasswiseNMS, max_proposals: int, inputs: _Inputs, corners: box_math.Corners) -> Value:
    """Softmax scores [B, R, K]; -1 for padding proposals, scores at or below the threshold and small boxes."""
    k = op.num_classes
    probabilities = body.op("Softmax", inputs.class_logits, axis=-1).slice(1, 0, k).reshape(-1, max_proposals, k)
    row = body.constant(np.arange(max_proposals, dtype=np.int32)[None, :, None])
    real = row < inputs.num_proposals.unsqueeze(1, 2)
    candidate = (probabilities > op.score_thresh) & real & box_math.large_enough(corners, op.min_side)
    return body.op("Where", candidate, probabilities, -1.0)


def _finish(
    body: Body, op: ClasswiseNMS, inputs: _Inputs, boxes: Value, scores: Value, flat: Value, real: Value, count: Value
) -> onnx.FunctionProto:
    """Scores and labels of the chosen rows `flat` (proposal * K + class), and the function."""
    chosen = body.op("GatherElements", scores, flat, axis=1)
    labels = (flat - (flat // op.num_classes) * op.num_classes).cast(INT32)
    outputs = [
        ("boxes", boxes),
        ("scores", body.op("Where", real, chosen, 0.0)),
        ("labels", body.op("Where", real, labels, body.constant(np.int32(-1)))),
        ("num_detections", count.unsqueeze(1)),
    ]
    ordered = [getattr(inputs, field.name) for field in dataclasses.fields(_Inputs)]
    doc = "Detections from box head outputs; attribute values and the number of proposals are baked in."
    return body.function(ordered, outputs, list(node_attributes(op)), doc)


def reference(
    op: ClasswiseNMS,
    class_logits: Array,
    box_deltas: Array,
    proposals: Array,
    num_proposals: npt.NDArray[np.int32],
    image_info: Array,
) -> Detections:
    """The op in numpy, image by image and class by class, from the definition.

    Args:
        op: attributes.
        class_logits: [B*R, K+1] float32, background last.
        box_deltas: [B*R, 4K] float32, four of class 0 first.
        proposals: [B, R, 4] float32 xyxy, canvas px.
        num_proposals: [B] int32; rows past it are padding.
        image_info: [B, 6] float32, resized height and width first.
    """
    images, r = proposals.shape[:2]
    k, d = op.num_classes, op.max_detections
    result = Detections(
        np.zeros((images, d, 4), dtype=np.float32),
        np.zeros((images, d), dtype=np.float32),
        np.full((images, d), -1, dtype=np.int32),
        np.zeros((images, 1), dtype=np.int32),
    )
    exponents = np.exp(class_logits - class_logits.max(axis=1, keepdims=True))
    scores = (exponents / exponents.sum(axis=1, keepdims=True)).reshape(images, r, k + 1).astype(np.float32)
    deltas = box_deltas.reshape(images, r, k, 4)
    for image in range(images):
        n = int(num_proposals[image])
        found: list[tuple[float, int, int, Array]] = []  # (-score, proposal, class, box): sorts as the op orders
        for label in range(k):
            boxes = box_math.decode_numpy(
                proposals[image, :n], deltas[image, :n, label], op.delta_weights, *image_info[image, :2]
            )
            large = ((boxes[:, 2:] - boxes[:, :2]) >= np.float32(op.min_side)).all(axis=1)
            rows = np.flatnonzero(large & (scores[image, :n, label] > np.float32(op.score_thresh)))
            rows = rows[np.argsort(-scores[image, rows, label], kind="stable")]
            for row in rows[box_math.nms_numpy(boxes[rows], op.nms_thresh)]:
                found.append((-float(scores[image, row, label]), int(row), label, boxes[row]))
        found.sort(key=lambda entry: entry[:3])
        for slot, (negative, _, label, box) in enumerate(found[:d]):
            result.boxes[image, slot], result.scores[image, slot] = box, -negative
            result.labels[image, slot] = label
        result.num_detections[image] = min(len(found), d)
    return result
