"""What a line of `verify` gives for one picture: what can be seen of its stages, and its answer.

Letters: D detections an image, R proposals an image, N detections found, J keypoints, M mask side.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from maskline_train.data.canvas import preprocess
from maskline_train.evaluation.evaluate import boxes_at_original_size, keypoints_at_original_size
from maskline_train.evaluation.paste import Rle, encode_masks
from maskline_train.spec import ModelSpec
from PIL import Image

from maskline_export.manifest import Precision
from maskline_export.verify.onnx_runtime import RawDetections, Tensors

Array = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image to compare on.

    Attributes:
        name: for a reader.
        pixels: [H, W, 3] uint8 RGB.
        canvas: [1, Hc, Wc, 3] uint8, as the checkpoint's spec makes it.
        info: [1, 6] float32.
        file: where it was read, if it was.
    """

    name: str
    pixels: npt.NDArray[np.uint8]
    canvas: npt.NDArray[np.uint8]
    info: Floats
    file: Path | None = None

    @staticmethod
    def of(name: str, pixels: npt.NDArray[np.uint8], spec: ModelSpec, file: Path | None = None) -> Picture:
        """With its canvas."""
        canvas, info = preprocess(pixels, spec.preprocessing)
        return Picture(name, pixels, canvas[None], info[None], file)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def encoded(self) -> bytes:
        """The file's own bytes, else a PNG of the pixels."""
        if self.file is not None:
            return self.file.read_bytes()
        buffer = io.BytesIO()
        Image.fromarray(self.pixels).save(buffer, "PNG")
        return buffer.getvalue()


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a user of the line gets, in pixels of the picture.

    Attributes:
        boxes: [N, 4] float32 xyxy.
        scores: [N] float32, descending.
        labels: [N] integers.
        masks: N RLEs; None without a mask branch.
        keypoints: [N, J, 3] float32; None without a keypoint branch.
        classes: names that the line itself gives, label 0 first; empty where it gives none.
    """

    boxes: Floats
    scores: Floats
    labels: npt.NDArray[np.int64]
    masks: tuple[Rle, ...] | None = None
    keypoints: Floats | None = None
    classes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Found:
    """What a line gives for a picture; None is what cannot be seen. Each stage was given the reference's inputs.

    Attributes:
        answer: of the whole line.
        canvas: as `Picture.canvas`.
        backbone: features and RPN outputs by name.
        proposals: [R, 4], padding with sides of zero.
        box_features: RoI features of the box head on the reference's proposals, [R, C, P, P].
        class_logits: [R, K + 1] on those.
        box_deltas: [R, 4K] on those.
        boxes: [D, 4] what the second stage makes of the reference's first.
        scores: [D] of these.
        labels: [D] of these, -1 for padding.
        mask_features: RoI features of the mask head on the reference's detections.
        masks: [D, M, M] on those.
        keypoints: [D, J, 3] on those, canvas px.
        placed: the reference's detections as the line brings them to the size of the picture.
    """

    answer: Answer
    canvas: Array | None = None
    backbone: Tensors | None = None
    proposals: Array | None = None
    box_features: Array | None = None
    class_logits: Array | None = None
    box_deltas: Array | None = None
    boxes: Array | None = None
    scores: Array | None = None
    labels: Array | None = None
    mask_features: Array | None = None
    masks: Array | None = None
    keypoints: Array | None = None
    placed: Answer | None = None


@dataclasses.dataclass(frozen=True)
class Given:
    """What a line's stages are given: the reference's own results by their names on the wire.

    Attributes:
        picture: the image.
        backbone: `canvas`, `image_info`.
        proposal: features and RPN outputs besides.
        proposals: [1, R, 4] float32.
        num_proposals: [1] int32.
        heads: features, `boxes` and `labels` of the reference's detections.
        detections: all of these, padded, canvas px, and `image_info`.
    """

    picture: Picture
    backbone: Tensors
    proposal: Tensors
    proposals: Floats
    num_proposals: npt.NDArray[np.int32]
    heads: Tensors
    detections: Tensors


class Line(Protocol):
    """Something that answers as the trained model should."""

    title: str
    precision: Precision

    def answer(self, picture: Picture) -> Answer:
        """What it finds in a picture."""

    def find(self, given: Given) -> Found:
        """What its stages make of the reference's inputs, and its answer."""


def answer_of(raw: RawDetections, picture: Picture, spec: ModelSpec) -> Answer:
    """The first image's detections at the picture's size, as the server's `postprocess` gives them."""
    count, info = int(raw.num_detections[0, 0]), picture.info[0]
    boxes = boxes_at_original_size(raw.boxes[0, :count], info)
    masks = None if raw.masks is None else tuple(encode_masks(raw.masks[0, :count], boxes, picture.size, spec.paste))
    points = None if raw.keypoints is None else keypoints_at_original_size(raw.keypoints[0, :count], info)
    return Answer(boxes, raw.scores[0, :count], raw.labels[0, :count].astype(np.int64), masks, points)


def chained(run: Callable[[str, Tensors], Tensors], stages: tuple[str, ...], tensors: Tensors) -> RawDetections:
    """The stages one after the other, each given what those before it made."""
    tensors = dict(tensors)
    for stage in stages:
        tensors |= run(stage, tensors)
    return RawDetections.of(tensors)
