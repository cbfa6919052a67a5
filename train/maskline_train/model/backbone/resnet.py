"""ResNet and ResNeXt bodies, with torchvision's parameter names so that its weights load unchanged.

Letters: B images, C channels, H W input pixels.
Ref: ResNet paper (He et al. 2016), table 1; ResNeXt paper (Xie et al. 2017), table 1; names as in
torchvision/models/resnet.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from maskline_train.model.backbone.non_local import NonLocal
from maskline_train.model.backbone.norms import FoldedNorm, GroupNorm, Norm, build_norm, scale_and_shift
from maskline_train.spec import BackboneSpec

BLOCKS_PER_STAGE = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


# Channels from which on oneDNN's backward pass of a strided 1 x 1 convolution keeps to its memory.
_SAFE_CHANNELS = 16


class NarrowStridedConv(nn.Conv2d):
    """A 1 x 1 convolution with a stride, of few channels, that picks its pixels before it convolves them.

    The same products and sums. torch 2.11's oneDNN (3.10.2) writes outside its memory in the backward pass of such a
    convolution of fewer than 16 channels, channels last (as every activation here, since the canvas is), with AVX-512
    and more than one thread. Without a gradient it is the ordinary convolution, and so in an exported graph.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002 (torch's name)
        """What `forward` and `FrozenBatchNorm` call."""
        if torch.is_grad_enabled():
            step = self.stride[0]
            return functional.conv2d(input[:, :, ::step, ::step], weight, bias)
        out: Tensor = super()._conv_forward(input, weight, bias)
        return out


def _conv1(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """A 1 x 1 convolution without bias: the norm has one."""
    made = NarrowStridedConv if stride > 1 and inputs < _SAFE_CHANNELS else nn.Conv2d
    return made(inputs, outputs, 1, stride=stride, bias=False)


def _conv3(inputs: int, outputs: int, stride: int, dilation: int, groups: int = 1) -> nn.Conv2d:
    """A 3 x 3 convolution without bias that keeps the size at stride 1."""
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=dilation, dilation=dilation, bias=False, groups=groups)


class Shortcut(nn.Sequential):
    """The 1 x 1 convolution and norm that fit a block's input to its output: entries `0` and `1`."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the block's output shape."""
        conv, norm = self[0], self[1]
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, Norm)
        return norm.after(conv, x)


def _shortcut(inputs: int, outputs: int, stride: int, spec: BackboneSpec) -> Shortcut | None:
    if stride == 1 and inputs == outputs:
        return None
    return Shortcut(_conv1(inputs, outputs, stride), build_norm(outputs, spec))


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut: the block of ResNet-18 and 34."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, dilation: int, spec: BackboneSpec) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv3(inputs, width, stride, dilation), build_norm(width, spec)
        self.conv2, self.bn2 = _conv3(width, width, 1, dilation), build_norm(width, spec)
        self.downsample = _shortcut(inputs, width, stride, spec)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, width, H / stride, W / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = functional.relu_(self.bn1.after(self.conv1, x))
        out = self.bn2.after(self.conv2, out)
        return functional.relu_(out.add_(shortcut))


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 in one or many groups, 1 x 1 and a shortcut: the block of ResNet-50, 101, 152 and of ResNeXt.

    ResNeXt widens what lies between the 1 x 1 convolutions: 64 channels of res2 become groups * width_per_group.
    """

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, dilation: int, spec: BackboneSpec) -> None:
        super().__init__()
        outputs = width * self.expansion
        inner = max(1, width * spec.width_per_group // 64) * spec.groups
        stride1, stride3 = (stride, 1) if spec.stride_in_1x1 else (1, stride)
        self.conv1, self.bn1 = _conv1(inputs, inner, stride1), build_norm(inner, spec)
        self.conv2, self.bn2 = _conv3(inner, inner, stride3, dilation, spec.groups), build_norm(inner, spec)
        self.conv3, self.bn3 = _conv1(inner, outputs), build_norm(outputs, spec)
        self.downsample = _shortcut(inputs, outputs, stride, spec)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, 4 * width, H / stride, W / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = functional.relu_(self.bn1.after(self.conv1, x))
        out = functional.relu_(self.bn2.after(self.conv2, out))
        out = self.bn3.after(self.conv3, out)
        return functional.relu_(out.add_(shortcut))


def build_stage(spec: BackboneSpec, index: int) -> nn.Sequential:
    """The blocks of stage res2 + `index`; from the second on, the first block halves the size, unless it is dilated."""
    block = BasicBlock if spec.basic_blocks else Bottleneck
    dilation = 2 if spec.features == "dc5" and index == 3 else 1
    width, stride = spec.base_channels * 2**index, 1 if index == 0 or dilation > 1 else 2
    channels = spec.base_channels if index == 0 else spec.body_channels[index - 1]
    blocks = []
    for i in range(BLOCKS_PER_STAGE[spec.depth][index]):
        blocks.append(block(channels, width, stride if i == 0 else 1, dilation, spec))
        channels = width * block.expansion
    return nn.Sequential(*blocks)


def initialise_convolutions(module: nn.Module) -> None:
    """Kaiming's normal initialisation for whoever starts from nothing. Ref: He et al. 2015, section 2.2."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")


class ResNet(nn.Module):
    """The convolutional body: stages res2 to res5 of strides 4, 8, 16 and 32, or, for the C4 features, up to res4.

    For the features "dc5" res5 is dilated, of stride 16.
    `out_channels` are the channels of the outputs. Frozen stages take no gradient (autograd records nothing for them,
    since neither their input nor their weights ask for one) and their batch norms stay in evaluation mode.
    """

    def __init__(self, spec: BackboneSpec) -> None:
        super().__init__()
        self.frozen_stages = spec.frozen_stages
        self.conv1 = nn.Conv2d(3, spec.base_channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = build_norm(spec.base_channels, spec)
        self.layer1, self.layer2, self.layer3 = build_stage(spec, 0), build_stage(spec, 1), build_stage(spec, 2)
        self.layer4 = None if spec.features == "c4" else build_stage(spec, 3)
        self.out_channels = spec.body_channels[: 3 if self.layer4 is None else 4]
        initialise_convolutions(self)
        # Not an entry of layer3, whose names have to stay torchvision's.
        self.non_local = NonLocal(spec.body_channels[2]) if spec.non_local else None
        for module in self._frozen_modules():
            module.requires_grad_(requires_grad=False)

    def forward(self, x: Tensor, image_info: Tensor | None = None) -> list[Tensor]:
        """Features C2 to C5, or to C4.

        Args:
            x: [B, 3, H, W] normalised pixels.
            image_info: float32 [B, 6]; the non-local block does not look beyond the resized height and width. None:
                the images fill their canvas.

        Returns:
            Three or four tensors [B, out_channels[i], ceil(H / s), ceil(W / s)] for s = 4, 8, 16, 32; a dilated C5 has
            s = 16.
        """
        x = functional.relu_(self.bn1.after(self.conv1, x))
        x = functional.max_pool2d(x, kernel_size=3, stride=2, padding=1)
        c2 = self.layer1(x)
        c3 = self.layer2(c2)
        c4 = self.layer3(c3) if self.non_local is None else self._with_non_local(c3, image_info)
        return [c2, c3, c4] if self.layer4 is None else [c2, c3, c4, self.layer4(c4)]

    def _with_non_local(self, x: Tensor, image_info: Tensor | None) -> Tensor:
        """Stage res4 with the non-local block before its last block. Ref: Wang et al. 2018, section 4.1."""
        assert self.non_local is not None
        blocks = list(self.layer3.children())
        for block in blocks[:-1]:
            x = block(x)
        out: Tensor = blocks[-1](self.non_local(x, image_info))
        return out

    def train(self, mode: bool = True) -> ResNet:
        """Switch the mode of all but the frozen stages, whose running statistics must not move."""
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        return self

    def _frozen_modules(self) -> list[nn.Module]:
        stages: list[tuple[nn.Module | None, ...]] = [
            (self.conv1, self.bn1),
            (self.layer1,),
            (self.layer2,),
            (self.layer3, self.non_local),
            (self.layer4,),
        ]
        return [module for stage in stages[: self.frozen_stages] for module in stage if module is not None]


@torch.no_grad()
def fold_norms(module: nn.Module) -> list[str]:
    """Put the norms into their convolutions' weights and biases, in place: for inference and export only.

    Args:
        module: a body, the res5 stage of the C4 heads, or what holds one of them.

    Returns:
        The names of the norms that stay, because they depend on the input: group norms.
    """
    left = []
    for name, owner in list(module.named_modules()):
        for conv_name, norm_name in _pairs(owner):
            if isinstance(getattr(owner, norm_name), GroupNorm):
                left.append(f"{name}.{norm_name}".removeprefix("."))
            else:
                _fold(owner, conv_name, norm_name)
    return left


def _pairs(module: nn.Module) -> Iterator[tuple[str, str]]:
    """(convolution, norm): the names of each pair that a module itself holds."""
    if isinstance(module, Shortcut):
        yield "0", "1"
    for number in (1, 2, 3):
        if isinstance(module, ResNet | BasicBlock | Bottleneck) and hasattr(module, f"bn{number}"):
            yield f"conv{number}", f"bn{number}"


def _fold(owner: nn.Module, conv_name: str, norm_name: str) -> None:
    """Replace a convolution by one that holds its norm, and the norm by nothing."""
    conv, norm = getattr(owner, conv_name), getattr(owner, norm_name)
    scale, shift = scale_and_shift(norm)
    folded = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        stride=conv.stride,
        padding=conv.padding,
        dilation=conv.dilation,
        groups=conv.groups,
    ).to(conv.weight)
    folded.weight.copy_(conv.weight * scale[:, None, None, None])
    assert folded.bias is not None
    folded.bias.copy_(shift)
    owner.add_module(conv_name, folded)
    owner.add_module(norm_name, FoldedNorm())
