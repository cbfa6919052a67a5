"""ResNet bodies 18, 50 and 101, with torchvision's parameter names so that its weights load unchanged.

A frozen batch norm is folded into the convolution before it as it runs, `conv(x, weight * scale, shift)`: the same
numbers as a convolution followed by a scale and a shift, without reading and writing the activations once more.

Letters: C channels, H W input pixels.
Ref: ResNet paper (He et al. 2016), table 1; names as in torchvision/models/resnet.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from maskline_train.spec import BackboneSpec

BLOCKS_PER_STAGE = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


class FrozenBatchNorm(nn.Module):
    """Batch norm with fixed statistics and fixed scale and shift, run inside the convolution before it."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor
    eps = 1e-5

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def after(self, conv: nn.Conv2d, x: Tensor) -> Tensor:
        """Norm of `conv(x)`; the gradient reaches the convolution's weight, nothing here trains."""
        scale, shift = scale_and_shift(self)
        return functional.conv2d(x, conv.weight * scale[:, None, None, None], shift, conv.stride, conv.padding)


class BatchNorm(nn.BatchNorm2d):
    """The ordinary batch norm, for training from nothing."""

    def after(self, conv: nn.Conv2d, x: Tensor) -> Tensor:
        """Norm of `conv(x)`."""
        out: Tensor = self(conv(x))
        return out


class FoldedNorm(nn.Module):
    """What `fold_norms` leaves behind: the convolution already holds the norm."""

    def after(self, conv: nn.Conv2d, x: Tensor) -> Tensor:
        """`conv(x)`."""
        out: Tensor = conv(x)
        return out


Norm = FrozenBatchNorm | BatchNorm | FoldedNorm


def scale_and_shift(norm: FrozenBatchNorm | BatchNorm) -> tuple[Tensor, Tensor]:
    """The affine map of a norm at inference: y = x * scale + shift, each [C]."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias (the norm has one) that keeps the size at stride 1."""
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)


def _norm(channels: int, spec: BackboneSpec) -> Norm:
    return FrozenBatchNorm(channels) if spec.norm == "frozen_batch" else BatchNorm(channels)


class Shortcut(nn.Sequential):
    """The 1 x 1 convolution and norm that fit a block's input to its output: entries `0` and `1`."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the block's output shape."""
        conv, norm = self[0], self[1]
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, FrozenBatchNorm | BatchNorm | FoldedNorm)
        return norm.after(conv, x)


def _shortcut(inputs: int, outputs: int, stride: int, spec: BackboneSpec) -> Shortcut | None:
    if stride == 1 and inputs == outputs:
        return None
    return Shortcut(_conv(inputs, outputs, 1, stride), _norm(outputs, spec))


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut: the block of ResNet-18."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, spec: BackboneSpec) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(inputs, width, 3, stride), _norm(width, spec)
        self.conv2, self.bn2 = _conv(width, width, 3), _norm(width, spec)
        self.downsample = _shortcut(inputs, width, stride, spec)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, width, H / stride, W / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = functional.relu_(self.bn1.after(self.conv1, x))
        out = self.bn2.after(self.conv2, out)
        return functional.relu_(out.add_(shortcut))

    def pairs(self) -> Iterator[tuple[nn.Module, str, str]]:
        """(owner, convolution name, norm name) of every pair of the block."""
        yield from ((self, "conv1", "bn1"), (self, "conv2", "bn2"))
        if self.downsample is not None:
            yield self.downsample, "0", "1"


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3, 1 x 1 and a shortcut: the block of ResNet-50 and 101."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, spec: BackboneSpec) -> None:
        super().__init__()
        outputs = width * self.expansion
        stride1, stride3 = (stride, 1) if spec.stride_in_1x1 else (1, stride)
        self.conv1, self.bn1 = _conv(inputs, width, 1, stride1), _norm(width, spec)
        self.conv2, self.bn2 = _conv(width, width, 3, stride3), _norm(width, spec)
        self.conv3, self.bn3 = _conv(width, outputs, 1), _norm(outputs, spec)
        self.downsample = _shortcut(inputs, outputs, stride, spec)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, 4 * width, H / stride, W / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = functional.relu_(self.bn1.after(self.conv1, x))
        out = functional.relu_(self.bn2.after(self.conv2, out))
        out = self.bn3.after(self.conv3, out)
        return functional.relu_(out.add_(shortcut))

    def pairs(self) -> Iterator[tuple[nn.Module, str, str]]:
        """(owner, convolution name, norm name) of every pair of the block."""
        yield from ((self, "conv1", "bn1"), (self, "conv2", "bn2"), (self, "conv3", "bn3"))
        if self.downsample is not None:
            yield self.downsample, "0", "1"


class ResNet(nn.Module):
    """The convolutional body: four stages of strides 4, 8, 16 and 32.

    `out_channels` are the channels of the four outputs. Frozen stages take no gradient (autograd records nothing for
    them, since neither their input nor their weights ask for one) and their batch norms stay in evaluation mode.
    """

    def __init__(self, spec: BackboneSpec) -> None:
        super().__init__()
        block = BasicBlock if spec.depth == 18 else Bottleneck
        base = spec.base_channels
        self.frozen_stages = spec.frozen_stages
        self.conv1 = nn.Conv2d(3, base, 7, stride=2, padding=3, bias=False)
        self.bn1 = _norm(base, spec)
        stages, channels = [], base
        for index, num_blocks in enumerate(BLOCKS_PER_STAGE[spec.depth]):
            width, stride = base * 2**index, 1 if index == 0 else 2
            blocks = []
            for i in range(num_blocks):
                blocks.append(block(channels, width, stride if i == 0 else 1, spec))
                channels = width * block.expansion
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.out_channels = tuple(base * 2**i * block.expansion for i in range(4))
        self._initialise()
        for module in self._frozen_modules():
            module.requires_grad_(requires_grad=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features C2 to C5.

        Args:
            x: [B, 3, H, W] normalised pixels, H and W multiples of 32.

        Returns:
            Four tensors [B, out_channels[i], H / s, W / s] for s = 4, 8, 16, 32.
        """
        x = functional.relu_(self.bn1.after(self.conv1, x))
        x = functional.max_pool2d(x, kernel_size=3, stride=2, padding=1)
        features = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            features.append(x)
        return features

    def train(self, mode: bool = True) -> ResNet:
        """Switch the mode of all but the frozen stages, whose running statistics must not move."""
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        return self

    def pairs(self) -> Iterator[tuple[nn.Module, str, str]]:
        """(owner, convolution name, norm name) of every convolution and its norm."""
        yield self, "conv1", "bn1"
        for module in self.modules():
            if isinstance(module, BasicBlock | Bottleneck):
                yield from module.pairs()

    def _frozen_modules(self) -> list[nn.Module]:
        stem: list[list[nn.Module]] = [[self.conv1, self.bn1]]
        stages = stem + [[stage] for stage in (self.layer1, self.layer2, self.layer3, self.layer4)]
        return [module for stage in stages[: self.frozen_stages] for module in stage]

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


@torch.no_grad()
def fold_norms(body: ResNet) -> None:
    """Put every norm into its convolution's weight and bias, in place: for inference and export only."""
    for owner, conv_name, norm_name in list(body.pairs()):
        conv, norm = getattr(owner, conv_name), getattr(owner, norm_name)
        scale, shift = scale_and_shift(norm)
        folded = nn.Conv2d(
            conv.in_channels, conv.out_channels, conv.kernel_size, stride=conv.stride, padding=conv.padding
        ).to(conv.weight)
        folded.weight.copy_(conv.weight * scale[:, None, None, None])
        assert folded.bias is not None
        folded.bias.copy_(shift)
        owner.add_module(conv_name, folded)
        owner.add_module(norm_name, FoldedNorm())
