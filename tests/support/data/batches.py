"""A batch as one target an image, with masks of the size of the canvas."""

from __future__ import annotations

from maskline_train.data.loader import Batch
from maskline_train.ground_truth import GroundTruth
from maskline_train.target import Target


def targets_of(batch: Batch) -> tuple[Target, ...]:
    """The objects of each image; none of a batch of evaluation."""
    return () if batch.truth is None else unpacked(batch.truth, (batch.canvas.shape[1], batch.canvas.shape[2]))


def unpacked(truth: GroundTruth, size: tuple[int, int]) -> tuple[Target, ...]:
    """What `batched` made one of, on a canvas of (H, W)."""
    return tuple(_target(truth, image, size) for image in range(len(truth.boxes)))


def _target(truth: GroundTruth, image: int, size: tuple[int, int]) -> Target:
    count = int(truth.valid[image].sum())
    masks = truth.pixels.new_zeros((count, *size))
    places = zip(truth.starts[image].tolist(), truth.windows[image].tolist(), strict=True)
    for mask, (start, (x0, y0, width, height)) in zip(masks, places, strict=False):
        mask[y0 : y0 + height, x0 : x0 + width] = truth.pixels[start : start + width * height].view(height, width)
    keypoints = None if truth.keypoints is None else truth.keypoints[image, :count]
    return Target(truth.boxes[image, :count], truth.labels[image, :count], masks, keypoints)
