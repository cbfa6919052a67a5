"""The backbone, from the uint8 canvas to the features that RPN and heads read: the pyramid P2 to P6, or C4, or C5.

Letters: B images, C channels, H W canvas, Hi Wi level i.
Ref: FPN paper (Lin et al. 2017), section 3; P6 "is simply a stride two subsampling of P5" (its section 4.1). Paper
section 3, "Network Architecture", for C4; section 4.2, "RoIAlign", for C5.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from maskline_train.model.backbone.norms import PreciseGroupNorm
from maskline_train.model.backbone.resnet import ResNet
from maskline_train.spec import STRIDES as STRIDES
from maskline_train.spec import BackboneSpec, PreprocessingSpec


class FPN(nn.Module):
    """Lateral 1 x 1 convolutions, a top-down sum, 3 x 3 output convolutions; all of `spec.fpn_channels` channels.

    With `spec.fpn_norm` "group" each has a norm in place of its bias, `lateral_norms.i` and `output_norms.i`.
    """

    def __init__(self, in_channels: tuple[int, ...], spec: BackboneSpec) -> None:
        super().__init__()
        channels, levels, bias = spec.fpn_channels, len(in_channels), spec.fpn_norm == "none"
        self.lateral = nn.ModuleList(nn.Conv2d(inputs, channels, 1, bias=bias) for inputs in in_channels)
        self.output = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1, bias=bias) for _ in in_channels)
        self.lateral_norms, self.output_norms = _norms(levels, spec), _norms(levels, spec)
        for conv in [*self.lateral, *self.output]:
            assert isinstance(conv, nn.Conv2d)
            nn.init.kaiming_uniform_(conv.weight, a=1)  # as Detectron: Caffe2's XavierFill
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """P2 to P6, finest first.

        Args:
            features: C2 to C5, each half the size of the one before.

        Returns:
            Five tensors [B, C, Hi, Wi]; the last one subsamples the fourth by two.
        """
        laterals = _convolved(features, self.lateral, self.lateral_norms)
        for finer in range(len(laterals) - 2, -1, -1):
            laterals[finer] = laterals[finer] + functional.interpolate(
                laterals[finer + 1], scale_factor=2.0, mode="nearest"
            )
        outputs = _convolved(laterals, self.output, self.output_norms)
        return [*outputs, functional.max_pool2d(outputs[-1], kernel_size=1, stride=2)]


def _norms(levels: int, spec: BackboneSpec) -> nn.ModuleList:
    """A norm a level; an empty list for none, which no state dict names."""
    count = 0 if spec.fpn_norm == "none" else levels
    return nn.ModuleList(PreciseGroupNorm(spec.norm_groups, spec.fpn_channels) for _ in range(count))


def _convolved(levels: list[Tensor], convs: nn.ModuleList, norms: nn.ModuleList) -> list[Tensor]:
    """Each level's convolution, and its norm where there are any."""
    outputs = [conv(level) for conv, level in zip(convs, levels, strict=True)]
    return [norm(x) for norm, x in zip(norms, outputs, strict=True)] if len(norms) > 0 else outputs


class Backbone(nn.Module):
    """Normalisation, ResNet body and, unless the body's last stage is read as it is, the feature pyramid."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: BackboneSpec, preprocessing: PreprocessingSpec) -> None:
        super().__init__()
        self.body = ResNet(spec)
        self.fpn = FPN(self.body.out_channels, spec) if spec.features == "fpn" else None
        # Not persistent: the numbers live in model.json, once.
        self.register_buffer("mean", torch.tensor(preprocessing.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std)[:, None, None], persistent=False)

    def forward(self, canvas: Tensor, image_info: Tensor) -> list[Tensor]:
        """The features of a batch of canvases.

        Args:
            canvas: uint8 [B, H, W, 3] RGB, H and W multiples of 32 where there is a pyramid; what it holds outside
                the image is ignored.
            image_info: float32 [B, 6]; entries 0 and 1 are the resized height and width.

        Returns:
            P2 to P6: five tensors [B, C, Hi, Wi] of strides 4, 8, 16, 32, 64; or C4 alone, of stride 16; or C5 alone,
            of stride 32, or of 16 where it is dilated. A level of stride s has ceil(H / s) by ceil(W / s) cells.
        """
        features: list[Tensor] = self.body(self.normalise(canvas, image_info), image_info)
        return features[-1:] if self.fpn is None else self.fpn(features)

    def normalise(self, canvas: Tensor, image_info: Tensor) -> Tensor:
        """Float [B, 3, H, W] in units of `std`, zero outside the image."""
        pixels = (canvas.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) / self.std
        rows = torch.arange(canvas.shape[1], device=canvas.device) < image_info[:, 0:1]  # [B, H]
        columns = torch.arange(canvas.shape[2], device=canvas.device) < image_info[:, 1:2]  # [B, W]
        return pixels * (rows[:, None, :, None] & columns[:, None, None, :])
