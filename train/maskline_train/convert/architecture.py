"""What a framework's weights say of a network by their shapes, and the parts of a ModelSpec that follow from it.

Letters: K foreground classes, J keypoints, A anchors a cell.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from maskline_train.convert.body import Body
from maskline_train.spec import BackboneSpec, BoxHeadSpec, HeadNorm, MaskHeadSpec

Features = Literal["fpn", "c4", "dc5"]
Norm = Literal["", "batch", "group"]
NO_SIDE = 1e-6  # px: as the smallest side it drops boxes without area alone, which have no side of that length


@dataclasses.dataclass(frozen=True)
class Branch:
    """Convolutions of a head: how many, of how many channels (the deconvolution's too), with which norm; its rows."""

    convs: int
    channels: int
    norm: Norm
    rows: int


@dataclasses.dataclass(frozen=True)
class Architecture:
    """The network.

    Attributes:
        features: what RPN and heads read.
        body: which ResNet.
        norm: of the body.
        counts_batches: the norms were ordinary ones in training, not frozen: they have counters.
        fpn_channels: 0 without a pyramid.
        fpn_norm: of the pyramid.
        rpn_convs: 3 x 3 convolutions of the RPN head.
        rpn_channels: of what its last layers read.
        anchors: A.
        num_classes: K.
        agnostic_boxes: one box for all classes.
        box: its convolutions; `channels` 0 without any.
        box_layers: fully connected layers, and their width; (0, 0) on the stage res5.
        box_layer_norm: of them, which detectron2's own never have.
        mask: None for boxes alone; `rows` K or 1.
        keypoints: None for none; `rows` J.
    """

    features: Features
    body: Body
    norm: Norm
    counts_batches: bool
    fpn_channels: int
    fpn_norm: Norm
    rpn_convs: int
    rpn_channels: int
    anchors: int
    num_classes: int
    agnostic_boxes: bool
    box: Branch
    box_layers: tuple[int, int]
    box_layer_norm: Norm
    mask: Branch | None
    keypoints: Branch | None

    @property
    def num_keypoints(self) -> int:
        """J; 0 without such a branch."""
        return 0 if self.keypoints is None else self.keypoints.rows


def backbone_of(found: Architecture, **said: Any) -> BackboneSpec:
    """Body and pyramid; `said` has the fields that shapes do not say. Group norms have as many groups as it says."""
    return BackboneSpec(
        depth=found.body.depth,  # type: ignore[arg-type]
        base_channels=found.body.stem,
        fpn_channels=found.fpn_channels or BackboneSpec.fpn_channels,
        features=found.features,
        groups=found.body.groups,
        width_per_group=found.body.width_per_group,
        fpn_norm=_head_norm(found.fpn_norm),
        least_group_channels=1,
        **said,
    )


def box_head_of(found: Architecture, **said: Any) -> BoxHeadSpec:
    """The box head, which drops boxes without area alone; `said` has the fields that shapes do not say."""
    return BoxHeadSpec(
        hidden=found.box_layers[1] or BoxHeadSpec.hidden,
        num_convs=found.box.convs,
        conv_channels=found.box.channels or BoxHeadSpec.conv_channels,
        num_fcs=found.box_layers[0] or BoxHeadSpec.num_fcs,
        norm=_head_norm(found.box.norm),
        fc_norm=_head_norm(found.box_layer_norm),
        min_side_px=NO_SIDE,
        **said,
    )


def mask_head_of(found: Architecture, branch: Branch, **said: Any) -> MaskHeadSpec:
    """The mask head of these convolutions; `said` has the fields that shapes do not say."""
    return MaskHeadSpec(
        num_convs=branch.convs or MaskHeadSpec.num_convs,
        channels=branch.channels or MaskHeadSpec.channels,
        kind="res5" if found.features == "c4" else "fcn",
        class_agnostic=branch.rows == 1 != found.num_classes,
        norm=_head_norm(branch.norm),
        **said,
    )


def _head_norm(norm: Norm) -> HeadNorm:
    """Of pyramid and heads; batch norms there are inside of their convolutions by now."""
    return "group" if norm == "group" else "none"
