"""The 3 x 3 convolutions that a head begins with, and the norms between them and their ReLUs.

Letters: N RoIs, C channels, P pooled side.
Ref: Wu and He 2018 (Group Normalization), section 4.2, for the norms.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from maskline_train.model.backbone.norms import PreciseGroupNorm
from maskline_train.spec import HeadNorm


def build_convs(channels: int, width: int, count: int, norm: HeadNorm) -> nn.ModuleList:
    """`count` convolutions from `channels` to `width` channels, of unchanged size; without biases before a norm."""
    inputs = [channels] + [width] * (count - 1)
    return nn.ModuleList(nn.Conv2d(n, width, 3, padding=1, bias=norm == "none") for n in inputs[:count])


def build_norms(width: int, count: int, norm: HeadNorm, groups: int) -> nn.ModuleList:
    """The norms of `count` convolutions of `width` channels; an empty list for none, which no state dict names."""
    return nn.ModuleList(PreciseGroupNorm(groups, width) for _ in range(0 if norm == "none" else count))


def convolved(x: Tensor, convs: nn.ModuleList, norms: nn.ModuleList) -> Tensor:
    """Convolution, norm where there is one, ReLU, for each of them: [N, C, P, P] to [N, width, P, P]; N may be 0."""
    for index, conv in enumerate(convs):
        x = conv(x)
        if len(norms) > 0:
            x = norms[index](x)
        x = functional.relu_(x)
    return x


def initialise_conv(conv: nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Kaiming's normal initialisation, biases zero. Ref: He et al. 2015, section 2.2."""
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
