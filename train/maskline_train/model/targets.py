"""What the mask and the keypoint branch are trained towards, for sampled RoIs.

Letters: N RoIs of a batch, J keypoints, M mask side.
"""

from __future__ import annotations

import torch
from torch import Tensor

from maskline_train.ground_truth import GroundTruth
from maskline_train.model.ops import mask_targets as op
from maskline_train.model.sampling import RoISamples


@torch.no_grad()
def mask_targets(rois: RoISamples, truth: GroundTruth, side: int, aligned: bool) -> Tensor:
    """Mask targets of positive RoIs: "the intersection between an RoI and its associated ground-truth mask".

    Differs: Detectron rounds the targets to 0 and 1; like torchvision, these keep the share of a cell that is covered.

    Args:
        rois: N that may hold positives.
        truth: of the batch.
        side: M.
        aligned: the half-pixel convention of RoIAlign, the same as for the features that predict the mask.

    Returns:
        [N, M, M] float32 in 0..1, zero where a row does not count.
    """
    starts, windows = truth.starts[rois.images, rois.objects], truth.windows[rois.images, rois.objects]
    windows = windows * rois.counted[:, None]
    targets: Tensor = op.mask_targets(truth.pixels, starts, windows, rois.boxes, side, aligned)
    return targets


@torch.no_grad()
def keypoint_targets(rois: RoISamples, truth: GroundTruth, side: int) -> tuple[Tensor, Tensor]:
    """The one foreground cell of each heatmap, and which heatmaps have one.

    A keypoint counts where it is labelled (visibility above 0, hidden ones too, as in Detectron) and lies inside its
    RoI, the right and bottom edges included.

    Args:
        rois: N that may hold positives.
        truth: of the batch, with keypoints.
        side: M.

    Returns:
        cells [N, J] int64, row * M + column (0 where there is none), and counted [N, J] bool.

    Raises:
        ValueError: ground truth without keypoints.
    """
    if truth.keypoints is None:
        raise ValueError("targets: got one without keypoints, expected keypoints [G, J, 3] in each")
    keypoints = truth.keypoints[rois.images, rois.objects]
    corner, far = rois.boxes[:, None, :2], rois.boxes[:, None, 2:]
    points = keypoints[..., :2]
    inside = ((points >= corner) & (points <= far)).all(dim=2)
    counted = inside & (keypoints[..., 2] > 0) & rois.counted[:, None]
    cells = ((points - corner) * (side / (far - corner))).floor().clamp(0, side - 1)  # the far edge: the last cell
    index = (cells[..., 1] * side + cells[..., 0]).to(torch.int64)  # without meaning for a box without sides
    return torch.where(counted, index, torch.zeros_like(index)), counted
