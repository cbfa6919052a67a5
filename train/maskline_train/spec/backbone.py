"""The body, its norms and the levels that RPN and heads read. Letters: C channels."""

from __future__ import annotations

import dataclasses
import typing
from typing import Literal

from maskline_train.spec.from_json import check
from maskline_train.spec.group_norm import NUM_GROUPS, HeadNorm, check_norm

FIRST_LEVEL = 2  # levels are numbered by the log2 of their stride: the finest of a pyramid, of stride 4, is level 2
STRIDES = (4, 8, 16, 32, 64)  # P2 to P6, canvas pixels a cell

BASIC_DEPTHS = (18, 34)  # of the ResNets of basic blocks; the others have bottlenecks. Ref: He et al. 2016, table 1

_FULL_WIDTH = 64  # `width_per_group` of the published ResNets
_Depth = Literal[18, 34, 50, 101, 152]
_Norm = Literal["frozen_batch", "batch", "sync_batch", "group"]
_Features = Literal["fpn", "c4", "c5", "dc5"]


@dataclasses.dataclass(frozen=True)
class BackboneSpec:
    """A ResNet or ResNeXt body and the features that RPN and heads read. Ref: paper 3.1, "Network Architecture".

    ResNeXt 32x8d is `groups=32, width_per_group=8`, 64x4d `groups=64, width_per_group=4`. Levels are numbered by the
    log2 of their stride. `fpn`: RPN on P2 to P6, heads on P2 to P5. `c4`: both on C4, the body's own fourth stage (its
    fifth is part of the heads). `c5`: both on C5, stride 32. `dc5`: both on a C5 of stride 16, so of level 4: its stage
    keeps the size and has dilation 2 in all its 3 x 3 convolutions instead. Ref: R-FCN (Dai et al. 2016), "A trous and
    stride"; `RES5_DILATION` 2 in detectron2's modeling/backbone/resnet.py. Differs: torchvision's
    `replace_stride_with_dilation` leaves the first block of the stage without dilation.

    Group norms have `norm_groups` groups. Those of the body have fewer where that would leave a group less than
    `least_group_channels`, in slimmer bodies than the published; those of the pyramid never. Ref: Wu and He 2018 (Group
    Normalization), section 4.2, and detectron2's `MODEL.FPN.NORM`, for the pyramid's.
    """

    depth: _Depth = 50
    base_channels: int = 64  # 64 is the published network; the CPU demo uses a slimmer one
    norm: _Norm = "frozen_batch"
    frozen_stages: int = 2  # 0 nothing, 1 the stem, 2 the stem and res2: what does not train
    stride_in_1x1: bool = False  # True: the original ResNet and Detectron; False: torchvision
    fpn_channels: int = 256
    features: _Features = "fpn"
    groups: int = 1
    width_per_group: int = 64  # of base_channels = 64
    non_local: bool = False  # one non-local block before the last block of res4. Ref: Wang et al. 2018, section 4.1
    fpn_norm: HeadNorm = "none"  # behind each convolution of the pyramid, which then has no bias
    norm_groups: int = NUM_GROUPS  # of every group norm of body and pyramid
    # 2 is what 32 groups leave the narrowest layer of a published body; 1 keeps `norm_groups`, as other frameworks do.
    least_group_channels: int = 2

    def __post_init__(self) -> None:
        depths, norms = typing.get_args(_Depth), typing.get_args(_Norm)
        check(self.depth in depths, "backbone.depth", self.depth, f"one of {depths}")
        check(self.norm in norms, "backbone.norm", self.norm, f"one of {norms}")
        check(self.base_channels > 0, "backbone.base_channels", self.base_channels, "at least 1")
        check(0 <= self.frozen_stages <= 5, "backbone.frozen_stages", self.frozen_stages, "0 to 5")
        check(self.fpn_channels > 0, "backbone.fpn_channels", self.fpn_channels, "at least 1")
        features = typing.get_args(_Features)
        check(self.features in features, "backbone.features", self.features, f"one of {features}")
        check_norm("backbone.fpn_norm", self.fpn_norm, self.norm_groups, self.fpn_channels)
        good = self.fpn_norm == "none" or self.features == "fpn"
        check(good, "backbone.fpn_norm", self.fpn_norm, f"'none' for the features {self.features!r}, without a pyramid")
        least = self.least_group_channels
        check(least > 0, "backbone.least_group_channels", least, "at least 1")
        check(self.groups > 0, "backbone.groups", self.groups, "at least 1")
        check(self.width_per_group > 0, "backbone.width_per_group", self.width_per_group, "at least 1")
        good = self.groups == 1 or not self.basic_blocks
        check(good, "backbone.groups", self.groups, f"1 for depth {self.depth} (basic blocks)")

    @property
    def body_name(self) -> str:
        """E.g. ResNet-50, ResNeXt-101 32x8d, Wide ResNet-50-2, as the papers and torchvision call them."""
        if self.groups > 1:
            return f"ResNeXt-{self.depth} {self.groups}x{self.width_per_group}d"
        times = self.width_per_group / _FULL_WIDTH
        return f"ResNet-{self.depth}" if times == 1 else f"Wide ResNet-{self.depth}-{times:g}"

    @property
    def basic_blocks(self) -> bool:
        """Whether the body is of basic blocks, not bottlenecks. Ref: He et al. 2016 (ResNet), table 1."""
        return self.depth in BASIC_DEPTHS

    @property
    def rpn_levels(self) -> tuple[int, ...]:
        """Level numbers that the region proposal network reads, finest first."""
        return {"fpn": (2, 3, 4, 5, 6), "c4": (4,), "c5": (5,), "dc5": (4,)}[self.features]

    @property
    def roi_levels(self) -> tuple[int, ...]:
        """Level numbers that the heads read, finest first: P6 serves the region proposal network alone."""
        return self.rpn_levels[:4]

    @property
    def level_names(self) -> tuple[str, ...]:
        """A name for each of `rpn_levels`, in the artifact and on the wire: p2 to p6, or c4, or c5 of either stride."""
        return {"fpn": ("p2", "p3", "p4", "p5", "p6"), "c4": ("c4",), "c5": ("c5",), "dc5": ("c5",)}[self.features]

    @property
    def feature_names(self) -> tuple[str, ...]:
        """A name for each of `roi_levels`, of the tensors that the heads read."""
        return self.level_names[: len(self.roi_levels)]

    @property
    def body_channels(self) -> tuple[int, int, int, int]:
        """Channels of C2 to C5."""
        widest = self.base_channels * (1 if self.basic_blocks else 4)
        return (widest, 2 * widest, 4 * widest, 8 * widest)

    @property
    def feature_channels(self) -> int:
        """C: channels of every level that RPN and heads read."""
        if self.features == "fpn":
            return self.fpn_channels
        return self.body_channels[2 if self.features == "c4" else 3]
