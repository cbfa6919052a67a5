"""The mask branch.

Letters: N RoIs, K foreground classes, C channels, P pooled side, M = 2P mask side, B images, D detections an image.
Ref: paper section 3, "Mask Representation", and figure 4, right.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from maskline_train.spec import MaskHeadSpec


class MaskHead(nn.Module):
    """3 x 3 convolutions, a 2 x 2 deconvolution of stride 2, and a 1 x 1 convolution to one mask a class."""

    def __init__(self, channels: int, num_classes: int, spec: MaskHeadSpec) -> None:
        super().__init__()
        inputs = [channels] + [spec.channels] * (spec.num_convs - 1)
        self.convs = nn.ModuleList(nn.Conv2d(n, spec.channels, 3, padding=1) for n in inputs)
        self.upsample = nn.ConvTranspose2d(spec.channels, spec.channels, 2, stride=2)
        self.mask_logits = nn.Conv2d(spec.channels, num_classes, 1)
        for layer in [*self.convs, self.upsample, self.mask_logits]:
            assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.mask_logits.weight, std=0.001)  # as Detectron: masks start at one half everywhere

    def forward(self, roi_features: Tensor) -> Tensor:
        """Mask logits [N, K, M, M] of RoI features [N, C, P, P]."""
        x = roi_features
        for conv in self.convs:
            x = functional.relu_(conv(x))
        logits: Tensor = self.mask_logits(functional.relu_(self.upsample(x)))
        return logits


def masks_of_class(mask_logits: Tensor, labels: Tensor) -> Tensor:
    """The logits of one class a RoI: "the k-th mask", k the predicted or the true class.

    Args:
        mask_logits: [N, K, M, M].
        labels: [N] int64 in 0..K-1.

    Returns:
        [N, M, M].
    """
    return mask_logits[torch.arange(len(labels), device=labels.device), labels]
