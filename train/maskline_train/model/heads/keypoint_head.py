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
from maskline_train.model.heads.enlarged_heatmap import best_enlarged
from maskline_train.spec import KeypointHeadSpec
from maskline_train.spec.heads import Decoding, KeypointScore


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


def decode_heatmaps(
    logits: Tensor,
    boxes: Tensor,
    decoding: Decoding = "parabola",
    score: KeypointScore = "softmax",
    longest_px: int | None = None,
) -> Tensor:
    """The point that each heatmap means, in its box, and how sure it is.

    `parabola`: the arg max cell, refined to a fraction of it. Along each axis the parabola through the best logit and
    its two neighbours has its top at most half a cell away (the logits of a Gaussian are a parabola, so a Gaussian is
    found exactly); at the border, where a neighbour is missing, and on flat ground, the centre of the cell stays. Ties:
    the lowest cell in row-major order. `bicubic`: the arg max pixel of the heatmap enlarged to its box, as detectron2
    and torchvision have it (`best_enlarged`).

    Static shapes, no loops: the export twin calls this.

    Args:
        logits: [N, J, M, M].
        boxes: [N, 4] xyxy px; for `bicubic` of the canvas, whose pixels are counted.
        decoding: see above.
        score: `softmax`, the exponential of the value at the point over the sum of all cells': a probability of a cell
            for `parabola`, and up to a little more than 1 for `bicubic`. `logit`, the value itself.
        longest_px: no box is longer, for `bicubic`; None: look.

    Returns:
        [N, J, 3] float32: x, y in the units of the boxes, and the score.
    """
    flat = logits.float().flatten(2)
    if decoding == "bicubic":
        points, best = best_enlarged(logits.float(), boxes, _longest(boxes) if longest_px is None else longest_px)
    else:
        points, best = _tops_of_parabolas(flat, boxes, logits.shape[3])
    if score == "softmax":
        best = 1.0 / (flat - best[..., None]).exp().sum(dim=2)  # logsumexp cannot be exported for an unknown N
    return torch.cat([points, best[..., None]], dim=2)


def _longest(boxes: Tensor) -> int:
    """The longest side, rounded up; 1 without a box."""
    sides: list[int] = (boxes[:, 2:] - boxes[:, :2]).ceil().int().flatten().tolist()
    return max([1, *sides])


def _tops_of_parabolas(flat: Tensor, boxes: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Points [N, J, 2] in boxes [N, 4] by logits [N, J, M * M], and the logits [N, J] of their cells."""
    best, index = flat.max(dim=2)
    row, column = torch.div(index, side, rounding_mode="floor"), index % side
    x = column + 0.5 + _refinement(flat, index, column, 1, side)
    y = row + 0.5 + _refinement(flat, index, row, side, side)
    corner, size = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
    return corner + torch.stack([x, y], dim=2) * (size / side), best


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
