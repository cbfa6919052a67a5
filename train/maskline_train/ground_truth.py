"""Ground truth of a batch in arrays of fixed size, so that a step on a GPU never asks how many objects there are.

Letters: B images, G objects an image (the most of any image, rounded up), J keypoints, H W canvas, P bytes of masks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from maskline_train.target import Target

# Padded counts are powers of two, of objects from this on: a compiled step is made anew for each count.
_FEWEST_OBJECTS = 8
# What padding holds: a box with an area, so that deltas towards it are finite numbers that nobody counts.
_PADDING_BOX = (0.0, 0.0, 1.0, 1.0)


class GroundTruth(NamedTuple):
    """Ground truth of B images; rows past an image's objects are padding.

    A mask is a crop, the pixels of a window that holds all of the object: whole canvases would be 17 MB an image of
    20 objects at 800 x 1088.

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

    def targets(self, size: tuple[int, int]) -> tuple[Target, ...]:
        """The objects of each image with their masks on a canvas of (H, W)."""
        return tuple(self._target(image, size) for image in range(len(self.boxes)))

    def _target(self, image: int, size: tuple[int, int]) -> Target:
        count = int(self.valid[image].sum())
        masks = self.pixels.new_zeros((count, *size))
        for mask, start, (x0, y0, width, height) in zip(
            masks, self.starts[image].tolist(), self.windows[image].tolist(), strict=False
        ):
            mask[y0 : y0 + height, x0 : x0 + width] = self.pixels[start : start + width * height].view(height, width)
        keypoints = None if self.keypoints is None else self.keypoints[image, :count]
        return Target(self.boxes[image, :count], self.labels[image, :count], masks, keypoints)


class Crop(NamedTuple):
    """A mask without the zeros around it: `pixels` [h, w] uint8 at `corner` (x0, y0) of the canvas."""

    corner: tuple[int, int]
    pixels: Tensor


def crop_of(mask: Tensor) -> Crop:
    """The object of a mask [H, W] with a pixel of background around it, as far as the canvas goes.

    With that pixel RoIAlign of the crop is RoIAlign of the canvas: beyond it everything is zero in both.
    """
    rows, columns = torch.nonzero(mask.any(dim=1))[:, 0], torch.nonzero(mask.any(dim=0))[:, 0]
    if len(rows) == 0:
        return Crop((0, 0), mask.new_zeros((0, 0), dtype=torch.uint8))
    y0, y1 = max(0, int(rows[0]) - 1), int(rows[-1]) + 2
    x0, x1 = max(0, int(columns[0]) - 1), int(columns[-1]) + 2
    return Crop((x0, y0), mask[y0:y1, x0:x1].to(torch.uint8))


def batched(targets: Sequence[Target], crops: Sequence[Sequence[Crop]] | None = None) -> GroundTruth:
    """Ground truth of a batch.

    Args:
        targets: one an image, all on one device, all with keypoints or none.
        crops: the masks of each image; None: those of the targets.

    Raises:
        ValueError: a box without area, which would make the loss infinite; keypoints in some images alone.
    """
    if crops is None:
        crops = [[crop_of(mask) for mask in target.masks] for target in targets]
    for index, target in enumerate(targets):
        if not bool((target.boxes[:, 2:] > target.boxes[:, :2]).all()):
            raise ValueError(f"target {index}: a box has no area; drop such objects when the data are read")
    most = _power_of_two(max([_FEWEST_OBJECTS, *(len(target.labels) for target in targets)]))
    device = targets[0].boxes.device
    boxes = torch.tensor(_PADDING_BOX, device=device).repeat(len(targets), most, 1)
    labels = torch.zeros((len(targets), most), dtype=torch.int64, device=device)
    valid = torch.zeros((len(targets), most), dtype=torch.bool, device=device)
    for image, target in enumerate(targets):
        count = len(target.labels)
        boxes[image, :count], labels[image, :count], valid[image, :count] = target.boxes, target.labels, True
    pixels, starts, windows = _packed(crops, most, device)
    return GroundTruth(boxes, labels, valid, pixels, starts, windows, _keypoints(targets, most))


def _packed(crops: Sequence[Sequence[Crop]], most: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """`pixels`, `starts` and `windows` of a batch."""
    starts = torch.zeros((len(crops), most), dtype=torch.int64)
    windows = torch.zeros((len(crops), most, 4), dtype=torch.int32)
    total = 0
    for image, of_image in enumerate(crops):
        for index, crop in enumerate(of_image):
            height, width = crop.pixels.shape
            starts[image, index] = total
            windows[image, index] = torch.tensor([*crop.corner, width, height], dtype=torch.int32)
            total += height * width
    pixels = torch.zeros(_power_of_two(max(1, total)), dtype=torch.uint8, device=device)
    flat = [crop.pixels.reshape(-1) for of_image in crops for crop in of_image]
    if flat:
        torch.cat(flat, out=pixels[:total])
    return pixels, starts.to(device), windows.to(device)


def _keypoints(targets: Sequence[Target], most: int) -> Tensor | None:
    """[B, G, J, 3]."""
    found = [target.keypoints for target in targets if target.keypoints is not None]
    if not found:
        return None
    if len(found) < len(targets):
        raise ValueError(f"targets: got keypoints in {len(found)} of {len(targets)} images, expected all or none")
    keypoints = found[0].new_zeros((len(targets), most, *found[0].shape[1:]))
    for row, of_image in zip(keypoints, found, strict=True):
        row[: len(of_image)] = of_image
    return keypoints


def _power_of_two(count: int) -> int:
    """The smallest power of two from `count` on."""
    return 1 << (count - 1).bit_length()
