"""ClasswiseNMS on the host: from the outputs of the box head to a fixed number of detections.

Letters: B images, R proposals an image, K foreground classes, D detections an image.
"""

from __future__ import annotations

import ctypes
import dataclasses

import numpy as np
import numpy.typing as npt

from . import library

Array = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class ClasswiseNMS:
    """Attributes of the op; `README.md` of plugins/classwise_nms has their ranges."""

    num_classes: int  # K
    score_thresh: float
    nms_thresh: float
    max_detections: int  # D
    delta_weights: tuple[float, float, float, float]
    min_side: float  # px


@dataclasses.dataclass(frozen=True)
class Detections:
    """What the op returns, best first; rows past the count are zero with label -1."""

    boxes: Array  # [B, D, 4] xyxy, px of the canvas
    scores: Array  # [B, D]
    labels: npt.NDArray[np.int32]  # [B, D]
    num_detections: npt.NDArray[np.int32]  # [B, 1]

    @staticmethod
    def empty(batch: int, detections: int) -> Detections:
        """Arrays of the right shapes and any content."""
        return Detections(
            np.empty((batch, detections, 4), np.float32),
            np.empty((batch, detections), np.float32),
            np.empty((batch, detections), np.int32),
            np.empty((batch, 1), np.int32),
        )


class Config(library.Config):
    """`MasklineClasswiseNMS` of plugins/classwise_nms/c_config.h."""

    _fields_ = (
        ("batch", ctypes.c_int32),
        ("proposals", ctypes.c_int32),
        ("num_classes", ctypes.c_int32),
        ("max_detections", ctypes.c_int32),
        ("score_thresh", ctypes.c_float),
        ("nms_thresh", ctypes.c_float),
        ("delta_weights", ctypes.c_float * 4),
        ("min_side", ctypes.c_float),
    )


def config_of(op: ClasswiseNMS, batch: int, proposals: int) -> Config:
    """The C struct of a call."""
    return Config(
        batch=batch,
        proposals=proposals,
        num_classes=op.num_classes,
        max_detections=op.max_detections,
        score_thresh=op.score_thresh,
        nms_thresh=op.nms_thresh,
        delta_weights=(ctypes.c_float * 4)(*op.delta_weights),
        min_side=op.min_side,
    )


def classwise_nms(
    op: ClasswiseNMS,
    class_logits: npt.ArrayLike,
    box_deltas: npt.ArrayLike,
    proposals: npt.ArrayLike,
    num_proposals: npt.ArrayLike,
    image_info: npt.ArrayLike,
    threads: int = 0,
) -> Detections:
    """Detections of every image.

    Softmax over K+1 classes, boxes decoded class by class and clipped to the resized image, those with a side below
    `min_side` dropped, candidates with score > `score_thresh`, greedy NMS within a class, the best D by score (ties:
    the lower proposal, then the lower class). A row with a NaN or +inf logit has no candidate; a box with a NaN
    coordinate is dropped.

    Args:
        op: attributes.
        class_logits: [B*R, K+1] float32, background last.
        box_deltas: [B*R, 4K] float32, four (dx dy dw dh) of class 0 first.
        proposals: [B, R, 4] float32 xyxy, canvas px.
        num_proposals: [B] int32; rows past it are padding; read as 0..R.
        image_info: [B, 6] float32, resized height and width first.
        threads: at most so many; 0: as many as the process may run on, 16 at most.

    Raises:
        HostLibraryError: the library is missing, or an attribute or shape is wrong.

    Ref: Mask R-CNN 3.1; docs/architecture.md, "Custom ops".
    """
    boxes = library.as_array(proposals, np.float32, "proposals", (None, None, 4))
    batch, rows = boxes.shape[:2]
    classes = op.num_classes
    inputs = (
        library.as_array(class_logits, np.float32, "class_logits", (batch * rows, classes + 1)),
        library.as_array(box_deltas, np.float32, "box_deltas", (batch * rows, 4 * classes)),
        boxes,
        library.as_array(num_proposals, np.int32, "num_proposals", (batch,)),
        library.as_array(image_info, np.float32, "image_info", (batch, 6)),
    )
    found = Detections.empty(batch, max(op.max_detections, 0))
    outputs = (found.boxes, found.scores, found.labels, found.num_detections)
    config = config_of(op, batch, rows)
    library.check(
        library.load().maskline_host_classwise_nms(
            ctypes.byref(config),
            *(library.pointer(array) for array in (*inputs, *outputs)),
            ctypes.c_int(threads),
        )
    )
    return found
