"""Ground truth of a batch in arrays of fixed size, so that a step on a GPU never asks how many objects there are.

Letters: B images, G objects an image (the most of any image, rounded up), J keypoints, H W canvas, P bytes of masks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from maskline_train.data.masks.crops import MaskCrops, pack, tight
from maskline_train.data.resizing import Size
from maskline_train.target import Target

# Padded counts are powers of two, of objects from this on: a compiled step is made anew for each count.
_FEWEST_OBJECTS = 8
# What padding holds: a box with an area, so that deltas towards it are finite numbers that nobody counts.
_PADDING_BOX = (0.0, 0.0, 1.0, 1.0)


class GroundTruth(NamedTuple):
    """Ground truth of B images; rows past an image's objects are padding.

    A mask is a crop, the pixels of a window that holds all of the object: whole canvases would be 17 MB an image of
    20 objects at 800 x 1088. A window has a pixel of background around the object as far as the canvas goes, so that
    RoIAlign of the crop is RoIAlign of the canvas: beyond it everything is zero in both.

    Attributes:
        boxes: [B, G, 4] float32 xyxy canvas px, each with an area, padding too.
        labels: [B, G] int64 in 0..K-1, 0 in padding.
        valid: [B, G] bool, False in padding.
        pixels: [P] uint8, 0 or 1: all crops, row by row, one behind the other.
        starts: [B, G] int64: where in `pixels` the crop of an object begins.
        windows: [B, G, 4] int32 x0, y0, width, height of the crop in canvas px; all zero where there is none.
        keypoints: [B, G, J, 3] float32 x, y canvas px and visibility, 0 in padding; None where the data have none.
    """

    boxes: Tensor
    labels: Tensor
    valid: Tensor
    pixels: Tensor
    starts: Tensor
    windows: Tensor
    keypoints: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> GroundTruth:
        """Every array changed alike: moved, pinned."""
        return GroundTruth._make(None if column is None else change(column) for column in self)


def batched(targets: Sequence[Target]) -> GroundTruth:
    """Ground truth of a batch of one target an image, on their device.

    The masks are cut on the host: for many steps let the data make crops from the start (`collated`).

    Raises:
        ValueError: a box without area; keypoints in some images alone.
    """
    masks = [target.masks.cpu().numpy().astype(np.uint8) for target in targets]
    crops = [MaskCrops(tuple(tight(0, 0, mask) for mask in of), (of.shape[1], of.shape[2])) for of in masks]
    columns = ([target.boxes.cpu() for target in targets], [target.labels.cpu() for target in targets])
    keypoints = [None if target.keypoints is None else target.keypoints.cpu() for target in targets]
    device = targets[0].boxes.device
    return collated(*columns, crops, crops[0].size, keypoints).map(lambda column: column.to(device))


def collated(
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    masks: Sequence[MaskCrops],
    canvas: Size,
    keypoints: Sequence[Tensor | None],
) -> GroundTruth:
    """Ground truth of a batch, on the host.

    Args:
        boxes: [g, 4] float32 xyxy canvas px of each image.
        labels: [g] int64 of each image.
        masks: of each image, which lies at the top left of the canvas.
        canvas: (H, W).
        keypoints: [g, J, 3] of each image, or None for each.

    Raises:
        ValueError: a box without area, which would make the loss infinite; keypoints in some images alone.
    """
    for index, of_image in enumerate(boxes):
        if not bool((of_image[:, 2:] > of_image[:, :2]).all()):
            raise ValueError(f"target {index}: a box has no area; drop such objects when the data are read")
    most = _power_of_two(max([_FEWEST_OBJECTS, *map(len, labels)]))
    valid = torch.arange(most) < torch.tensor([len(of_image) for of_image in labels])[:, None]
    packed = pack(masks, canvas)
    pixels = np.zeros(_power_of_two(max(1, len(packed.pixels))), np.uint8)
    pixels[: len(packed.pixels)] = packed.pixels
    return GroundTruth(
        _padded(boxes, torch.tensor(_PADDING_BOX).expand(most, 4)),
        _padded(labels, torch.zeros(most, dtype=torch.int64)),
        valid,
        torch.from_numpy(pixels),
        _padded([torch.from_numpy(of_image) for of_image in packed.starts], torch.zeros(most, dtype=torch.int64)),
        _padded([torch.from_numpy(of_image) for of_image in packed.windows], torch.zeros((most, 4), dtype=torch.int32)),
        _keypoints(keypoints, most),
    )


def _padded(columns: Sequence[Tensor], padding: Tensor) -> Tensor:
    """[B, G, ...] from rows [g, ...] of each image and what stands where there are none, [G, ...]."""
    return torch.stack([torch.cat([column, padding[len(column) :]]) for column in columns])


def _keypoints(keypoints: Sequence[Tensor | None], most: int) -> Tensor | None:
    """[B, G, J, 3]."""
    found = [of_image for of_image in keypoints if of_image is not None]
    if not found:
        return None
    if len(found) < len(keypoints):
        raise ValueError(f"targets: got keypoints in {len(found)} of {len(keypoints)} images, expected all or none")
    return _padded(found, found[0].new_zeros((most, *found[0].shape[1:])))


def _power_of_two(count: int) -> int:
    """The smallest power of two from `count` on."""
    return 1 << (count - 1).bit_length()
