"""The keypoint branch: its head, and how a heatmap becomes a point. Targets and loss stand with those of the masks.

Keypoints are independent of each other and of the class: the head answers for every RoI whatever its label, so data
sets have one class with keypoints, as in the paper (person).

Letters: N or S RoIs, J keypoints, C channels, P pooled side, M = 4P heatmap side, G ground-truth objects.
Ref: paper section 5, "Mask R-CNN for Human Pose Estimation".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from maskline_train.model.heads.convolutions import build_convs, initialise_conv
from maskline_train.spec import KeypointHeadSpec


class KeypointHead(nn.Module):
    """3 x 3 convolutions, a 4 x 4 deconvolution of stride 2 to one heatmap a keypoint, and 2 x bilinear upsampling."""

    def __init__(self, channels: int, spec: KeypointHeadSpec) -> None:
        super().__init__()
        self.convs = build_convs(channels, spec.channels, spec.num_convs, "none")
        self.keypoint_logits = nn.ConvTranspose2d(spec.channels, len(spec.names), 4, stride=2, padding=1)
        for layer in [*self.convs, self.keypoint_logits]:
            assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
            initialise_conv(layer)

    def forward(self, roi_features: Tensor) -> Tensor:
        """Heatmap logits [N, J, M, M] of RoI features [N, C, P, P]."""
        x = roi_features
        for conv in self.convs:
            x = functional.relu_(conv(x))
        return functional.interpolate(self.keypoint_logits(x), scale_factor=2.0, mode="bilinear", align_corners=False)


def decode_heatmaps(logits: Tensor, boxes: Tensor) -> Tensor:
    """The point that each heatmap means: the arg max cell, refined to a fraction of it, mapped into the box.

    Along each axis the parabola through the best logit and its two neighbours has its top at most half a cell away
    (the logits of a Gaussian are a parabola, so a Gaussian is found exactly); at the border, where a neighbour is
    missing, and on flat ground, the centre of the cell stays. Static shapes, no loops: the export twin calls this.
    Ties: the lowest cell in row-major order. Differs: torchvision and Detectron first enlarge each heatmap to its box
    by bicubic interpolation, to a shape that depends on the data.

    Args:
        logits: [N, J, M, M].
        boxes: [N, 4] xyxy px.

    Returns:
        [N, J, 3] float32: x, y in the units of the boxes, and the probability of the best cell under the softmax.
    """
    flat = logits.float().flatten(2)
    side = logits.shape[3]
    best, index = flat.max(dim=2)
    row, column = torch.div(index, side, rounding_mode="floor"), index % side
    x = column + 0.5 + _refinement(flat, index, column, 1, side)
    y = row + 0.5 + _refinement(flat, index, row, side, side)
    corner, size = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
    points = corner + torch.stack([x, y], dim=2) * (size / side)
    score = 1.0 / (flat - best[..., None]).exp().sum(dim=2)  # logsumexp cannot be exported for an unknown N
    return torch.cat([points, score[..., None]], dim=2)


def _refinement(flat: Tensor, index: Tensor, position: Tensor, step: int, side: int) -> Tensor:
    """Where the top of the parabola lies along one axis, in cells from the best cell's centre: [N, J] in -0.5..0.5.

    Args:
        flat: [N, J, M * M] logits.
        index: [N, J] of the best cell.
        position: [N, J], its coordinate along the axis.
        step: between neighbours along the axis.
        side: M.
    """
    last = flat.shape[2] - 1
    before = flat.gather(2, (index - step).clamp(min=0)[..., None])[..., 0]
    after = flat.gather(2, (index + step).clamp(max=last)[..., None])[..., 0]
    best = flat.gather(2, index[..., None])[..., 0]
    bend = (best - before) + (best - after)
    known = (position > 0) & (position < side - 1) & (bend > 0)
    return torch.where(known, 0.5 * (after - before) / torch.where(known, bend, 1.0), 0.0)
