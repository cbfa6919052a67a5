"""The mask branch: its convolutional heads, and how a mask is read from the logits of any mask head.

Letters: N RoIs, K foreground classes, C channels, P pooled side, M mask side, B images, D detections an image.
Ref: paper section 3, "Mask Representation"; figure 4; section 4.2, "Multinomial vs. Independent Masks" and
"Class-Specific vs. Class-Agnostic Masks".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from maskline_train.model.heads.convolutions import build_convs, build_norms, convolved, initialise_conv
from maskline_train.spec import MaskHeadSpec


class MaskHead(nn.Module):
    """3 x 3 convolutions, a 2 x 2 deconvolution of stride 2, and a 1 x 1 convolution to one mask a class.

    Each 3 x 3 convolution may have a norm before its ReLU: `norms.i` of `convs.i`. Ref: paper figure 4, right.
    """

    def __init__(self, channels: int, num_classes: int, spec: MaskHeadSpec) -> None:
        super().__init__()
        self.convs = build_convs(channels, spec.channels, spec.num_convs, spec.norm)
        self.norms = build_norms(spec.channels, spec.num_convs, spec.norm, spec.norm_groups)
        self.upsample = nn.ConvTranspose2d(spec.channels, spec.channels, 2, stride=2)
        self.mask_logits = nn.Conv2d(spec.channels, spec.num_channels(num_classes), 1)
        _initialise([*self.convs, self.upsample], self.mask_logits)

    def forward(self, roi_features: Tensor) -> Tensor:
        """Mask logits [N, spec.num_channels(K), M, M] of RoI features [N, C, P, P], M = 2P."""
        x = convolved(roi_features, self.convs, self.norms)
        logits: Tensor = self.mask_logits(functional.relu_(self.upsample(x)))
        return logits


class Res5MaskHead(nn.Module):
    """A 2 x 2 deconvolution of stride 2 and a 1 x 1 convolution, on what the C4 heads' `Res5Stage` gives.

    Ref: paper figure 4, left: 7 x 7 x 2048 to 14 x 14 x 256 to 14 x 14 x K.
    """

    def __init__(self, channels: int, num_classes: int, spec: MaskHeadSpec) -> None:
        super().__init__()
        self.upsample = nn.ConvTranspose2d(channels, spec.channels, 2, stride=2)
        self.mask_logits = nn.Conv2d(spec.channels, spec.num_channels(num_classes), 1)
        _initialise([self.upsample], self.mask_logits)

    def forward(self, roi_features: Tensor) -> Tensor:
        """Mask logits [N, spec.num_channels(K), 2S, 2S] of the stage's output [N, 2C, S, S]."""
        logits: Tensor = self.mask_logits(functional.relu_(self.upsample(roi_features)))
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


def mask_channels(labels: Tensor, spec: MaskHeadSpec) -> Tensor:
    """[N] int64: the channel of the logits that holds the mask of each label; the first for all if class-agnostic."""
    return torch.zeros_like(labels) if spec.class_agnostic else labels


def mask_probabilities(mask_logits: Tensor, labels: Tensor, spec: MaskHeadSpec) -> Tensor:
    """How probable each cell belongs to an object of its RoI's class, for logits of any mask head.

    Args:
        mask_logits: [N, spec.num_channels(K), M, M].
        labels: [N] int64 in 0..K-1, the predicted classes.
        spec: sigmoid: a class's cell has its own answer; softmax: classes and background share out one.

    Returns:
        [N, M, M] float32 in 0..1.
    """
    channels = mask_channels(labels, spec)
    if spec.activation == "softmax":
        return masks_of_class(mask_logits.float().softmax(dim=1), channels)
    return masks_of_class(mask_logits, channels).float().sigmoid()


def _initialise(layers: list[nn.Module], last: nn.Conv2d) -> None:
    for layer in [*layers, last]:
        assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        initialise_conv(layer)
    nn.init.normal_(last.weight, std=0.001)  # as Detectron: masks start at one half everywhere
