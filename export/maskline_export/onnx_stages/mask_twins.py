"""Export twins of the mask heads: probabilities of one class a RoI, without the other classes' masks where that can be.

Letters: N RoIs, K foreground classes, C channels, P pooled side, M mask side.
"""

from __future__ import annotations

import copy

import torch
from maskline_train.model.heads.convolutions import convolved
from maskline_train.model.heads.mask_head import MaskHead, Res5MaskHead, mask_channels
from maskline_train.model.heads.mask_mlp_head import MLPMaskHead
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.spec import MaskHeadSpec
from torch import Tensor, nn
from torch.nn.functional import relu


def build_mask_twin(model: MaskRCNN) -> ConvolutionalTwin | MLPTwin:
    """The twin of a model's mask head."""
    head, spec = model.mask_head, model.spec.mask_head
    assert spec is not None
    if isinstance(head, MLPMaskHead):
        return MLPTwin(head, spec)
    assert isinstance(head, MaskHead | Res5MaskHead)
    return ConvolutionalTwin(head, spec)


class ConvolutionalTwin(nn.Module):
    """Convolutions, deconvolution, 1 x 1 convolution.

    Where classes are independent only the row of the last convolution that belongs to the label is computed: 1/K of
    its work and no [N, K, M, M] tensor. The 2 x 2 deconvolution of stride 2 is written as the 1 x 1 convolution to four
    times the channels that it is, one set a corner of the output cell; corners are interleaved at the very end, when
    they are four numbers a cell instead of four times C.
    """

    def __init__(self, head: MaskHead | Res5MaskHead, spec: MaskHeadSpec) -> None:
        super().__init__()
        self.spec = spec
        self.convs = copy.deepcopy(head.convs) if isinstance(head, MaskHead) else nn.ModuleList()
        self.norms = copy.deepcopy(head.norms) if isinstance(head, MaskHead) else nn.ModuleList()
        self.corners = _as_convolution(head.upsample)
        self.mask_logits = copy.deepcopy(head.mask_logits)

    def forward(self, roi_features: Tensor, labels: Tensor) -> Tensor:
        """Probabilities [N, M*M] of RoI features [N, C, P, P], each for its label's class [N] int64."""
        x = convolved(roi_features, self.convs, self.norms)
        side = x.shape[-1]
        x = relu(self.corners(x)).reshape(-1, 4, self.mask_logits.in_channels, side * side)  # [N, 4, C, P*P]
        channels = mask_channels(labels, self.spec)
        cells = self._competing(x, channels) if self.spec.activation == "softmax" else self._independent(x, channels)
        by_place = cells.reshape(-1, 2, 2, side, side).permute(0, 3, 1, 4, 2)  # [N, P, 2, P, 2]: y, dy, x, dx
        return by_place.flatten(1)

    def _independent(self, x: Tensor, channels: Tensor) -> Tensor:
        """[N, 4*P*P]: the sigmoid of one channel a RoI."""
        assert self.mask_logits.bias is not None
        weights = self.mask_logits.weight.flatten(1)[channels][:, None, None]  # [N, 1, 1, C]
        logits = (weights @ x).squeeze(2).flatten(1) + self.mask_logits.bias[channels].unsqueeze(1)
        return torch.sigmoid(logits)

    def _competing(self, x: Tensor, channels: Tensor) -> Tensor:
        """[N, 4*P*P]: one channel a RoI of the softmax over all of them."""
        assert self.mask_logits.bias is not None
        weights = self.mask_logits.weight.flatten(1)[None, None]  # [1, 1, K+1, C]
        logits = weights @ x + self.mask_logits.bias[None, None, :, None]  # [N, 4, K+1, P*P]
        return _of_channel(logits.softmax(dim=2).transpose(1, 2).flatten(2), channels)


class MLPTwin(nn.Module):
    """Fully connected layers: all masks are one matrix product, of which one is kept."""

    def __init__(self, head: MLPMaskHead, spec: MaskHeadSpec) -> None:
        super().__init__()
        self.spec = spec
        self.head = copy.deepcopy(head)

    def forward(self, roi_features: Tensor, labels: Tensor) -> Tensor:
        """Probabilities [N, M*M] of RoI features [N, C, P, P], each for its label's class [N] int64."""
        logits = self.head(roi_features).flatten(2)  # [N, channels, M*M]
        channels = mask_channels(labels, self.spec)
        if self.spec.activation == "softmax":
            return _of_channel(logits.softmax(dim=1), channels)
        return torch.sigmoid(_of_channel(logits, channels))


def _of_channel(values: Tensor, channels: Tensor) -> Tensor:
    """[N, M*M] of [N, channels, M*M]: row `channels[n]` of each."""
    index = channels[:, None, None].expand(-1, 1, values.shape[2])
    return values.gather(1, index).squeeze(1)


def _as_convolution(deconvolution: nn.ConvTranspose2d) -> nn.Conv2d:
    """The 1 x 1 convolution whose channel (dy, dx, c) is what the deconvolution writes to (c, 2y + dy, 2x + dx)."""
    inputs, outputs = deconvolution.in_channels, deconvolution.out_channels
    convolution = nn.Conv2d(inputs, 4 * outputs, 1)
    assert convolution.bias is not None
    assert deconvolution.bias is not None
    with torch.no_grad():
        kernel = deconvolution.weight.permute(2, 3, 1, 0)  # [2, 2, outputs, inputs]
        convolution.weight.copy_(kernel.reshape(4 * outputs, inputs, 1, 1))
        convolution.bias.copy_(deconvolution.bias.repeat(4))
    return convolution
