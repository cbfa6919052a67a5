"""`maskline::mask_targets`: what the mask branch is trained towards, of all RoIs of a batch in one call.

Letters: N RoIs, P bytes of masks, M mask side.
Ref: paper section 3, "the intersection between an RoI and its associated ground-truth mask".
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import roi_align

from maskline_train.model.ops import roi_align_kernels
from maskline_train.model.ops.kernels import kernels_for

_ADAPTIVE = 0  # sampling ratio: every pixel under a cell counts


@torch.library.custom_op("maskline::mask_targets", mutates_args=())
def mask_targets(pixels: Tensor, starts: Tensor, windows: Tensor, boxes: Tensor, side: int, aligned: bool) -> Tensor:
    """RoIAlign of each RoI's object, as a share of each cell.

    Args:
        pixels: [P] uint8, the crops of `GroundTruth`.
        starts: [N] int64, where the crop of each RoI's object begins.
        windows: [N, 4] int32 x0, y0, width, height of that crop in canvas px; a width of 0: no target.
        boxes: [N, 4] float32 xyxy canvas px.
        side: M.
        aligned: the half-pixel convention of RoIAlign.

    Returns:
        [N, M, M] float32 in 0..1; zero where there is no target.
    """
    kernels = kernels_for(boxes.device)
    if kernels is not None and side <= roi_align_kernels.MOST_SIDE:
        return roi_align_kernels.mask_targets(kernels, pixels, starts, windows, boxes, side, aligned)
    result = boxes.new_zeros((len(boxes), side, side))
    rows = torch.nonzero(windows[:, 2])[:, 0]
    objects, members = torch.unique(starts[rows], return_inverse=True)
    for index, start in enumerate(objects.tolist()):
        here = rows[members == index]
        x0, y0, width, height = windows[here[0]].tolist()
        crop = pixels[start : start + width * height].view(1, 1, height, width).to(boxes.dtype)
        moved = boxes[here] - boxes.new_tensor([x0, y0, x0, y0])
        result[here] = roi_align(crop, [moved], side, 1.0, _ADAPTIVE, aligned)[:, 0]
    return result


@mask_targets.register_fake
def _(pixels: Tensor, starts: Tensor, windows: Tensor, boxes: Tensor, side: int, aligned: bool) -> Tensor:
    return boxes.new_empty((len(boxes), side, side))
