"""The branches: box, mask, keypoint. Letters: K foreground classes, M mask side, D detections, J keypoints."""

from __future__ import annotations

import dataclasses
import typing
from typing import Literal

from maskline_train.spec.from_json import check
from maskline_train.spec.group_norm import NUM_GROUPS, HeadNorm, check_norm

_MaskHead = Literal["fcn", "mlp", "res5"]
_MaskActivation = Literal["sigmoid", "softmax"]
PasteRule = Literal["aligned", "detectron"]
Decoding = Literal["parabola", "bicubic"]
KeypointScore = Literal["softmax", "logit"]


@dataclasses.dataclass(frozen=True)
class BoxHeadSpec:
    """3 x 3 convolutions, fully connected layers, class logits (K + 1, background last), class-wise box deltas (4K).

    The default is the paper's head: no convolution and two fully connected layers (figure 4, right). Wu and He 2018
    (Group Normalization), section 4.2, have four convolutions and one layer, each convolution with a norm; so have
    torchvision's `maskrcnn_resnet50_fpn_v2` (`FastRCNNConvFCHead` in its models/detection/faster_rcnn.py) and
    detectron2's `FastRCNNConvFCHead` (modeling/roi_heads/box_head.py) with NUM_CONV 4, NUM_FC 1. With
    `backbone.features` "c4" the fifth stage stands in place of all of them.
    """

    pooled_side: int = 7
    hidden: int = 1024
    delta_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    score_thresh: float = 0.05
    nms_thresh: float = 0.5
    max_detections: int = 100  # D
    min_side_px: float = 1e-2
    num_convs: int = 0
    conv_channels: int = 256
    num_fcs: int = 2  # of `hidden` outputs each
    norm: HeadNorm = "none"  # between a convolution and its ReLU
    norm_groups: int = NUM_GROUPS
    # Between a fully connected layer and its ReLU, over its outputs. Ref: `make_fc` of maskrcnn-benchmark's
    # modeling/make_layers.py, with `MODEL.ROI_BOX_HEAD.USE_GN`.
    fc_norm: HeadNorm = "none"

    def __post_init__(self) -> None:
        check(self.pooled_side > 0, "box_head.pooled_side", self.pooled_side, "at least 1")
        check(self.hidden > 0, "box_head.hidden", self.hidden, "at least 1")
        check(min(self.delta_weights) > 0, "box_head.delta_weights", self.delta_weights, "numbers above 0")
        check(0 <= self.score_thresh <= 1, "box_head.score_thresh", self.score_thresh, "0 to 1")
        check(0 < self.nms_thresh <= 1, "box_head.nms_thresh", self.nms_thresh, "above 0, at most 1")
        check(self.max_detections > 0, "box_head.max_detections", self.max_detections, "at least 1")
        check(self.min_side_px > 0, "box_head.min_side_px", self.min_side_px, "above 0")
        check(self.num_convs >= 0, "box_head.num_convs", self.num_convs, "at least 0")
        check(self.conv_channels > 0, "box_head.conv_channels", self.conv_channels, "at least 1")
        check(self.num_fcs > 0, "box_head.num_fcs", self.num_fcs, "at least 1")
        check_norm("box_head.norm", self.norm, self.norm_groups, self.conv_channels)
        check_norm("box_head.fc_norm", self.fc_norm, self.norm_groups, self.hidden)
        good = self.norm == "none" or self.num_convs > 0
        check(good, "box_head.norm", self.norm, "'none' without convolutions (box_head.num_convs 0)")


@dataclasses.dataclass(frozen=True)
class MaskHeadSpec:
    """The mask branch. Ref: paper section 3, "Mask Representation"; figure 4; tables 2b and 2e.

    Kinds: `fcn` convolutions, a deconvolution, a 1 x 1 convolution (figure 4, right); `mlp` two hidden fully connected
    layers; `res5` a deconvolution on what the C4 head's fifth stage gives (figure 4, left), which needs
    `backbone.features` "c4". `softmax` makes classes compete for each pixel (one more channel, the background, last);
    `class_agnostic` gives one mask for all classes.
    """

    pooled_side: int = 14
    num_convs: int = 4
    channels: int = 256
    kind: _MaskHead = "fcn"
    hidden: int = 1024  # of the two hidden layers of `mlp`
    activation: _MaskActivation = "sigmoid"
    class_agnostic: bool = False
    norm: HeadNorm = "none"  # of `fcn`: between a convolution and its ReLU. Ref: Wu and He 2018, section 4.2
    norm_groups: int = NUM_GROUPS
    # How a mask becomes pixels: docs/architecture.md, "Masks at the original size". detectron2 and mmdetection paste
    # "aligned"; torchvision, maskrcnn-benchmark and Detectron paste to boxes of whole pixels.
    paste: PasteRule = "aligned"

    def __post_init__(self) -> None:
        kinds, activations = typing.get_args(_MaskHead), typing.get_args(_MaskActivation)
        check(self.kind in kinds, "mask_head.kind", self.kind, f"one of {kinds}")
        check(self.activation in activations, "mask_head.activation", self.activation, f"one of {activations}")
        rules = typing.get_args(PasteRule)
        check(self.paste in rules, "mask_head.paste", self.paste, f"one of {rules}")
        check(self.pooled_side > 0, "mask_head.pooled_side", self.pooled_side, "at least 1")
        check(self.num_convs > 0, "mask_head.num_convs", self.num_convs, "at least 1")
        check(self.channels > 0, "mask_head.channels", self.channels, "at least 1")
        check(self.hidden > 0, "mask_head.hidden", self.hidden, "at least 1")
        check_norm("mask_head.norm", self.norm, self.norm_groups, self.channels)
        good = self.norm == "none" or self.kind == "fcn"
        check(good, "mask_head.norm", self.norm, f"'none' for the kind {self.kind!r}, which has no 3 x 3 convolutions")

    @property
    def mask_side(self) -> int:
        """M: the deconvolution doubles the pooled side, which res5 has halved before."""
        return self.pooled_side if self.kind == "res5" else 2 * self.pooled_side

    def num_channels(self, num_classes: int) -> int:
        """Channels of the logits: K, or 1 class-agnostic, and the background where classes compete."""
        return (1 if self.class_agnostic else num_classes) + (1 if self.activation == "softmax" else 0)


@dataclasses.dataclass(frozen=True)
class KeypointHeadSpec:
    """The keypoint branch: one-hot heatmaps of the keypoints of a class. Ref: paper section 5.

    Convolutions, a deconvolution, a bilinear upsampling by two: 14 x 14 to 56 x 56 cells, softmax over all of them.

    `decoding` is how a heatmap becomes a point: `parabola`, the top of the parabola through the best cell and its
    neighbours; `bicubic`, the best pixel of the heatmap enlarged to its box (detectron2, torchvision). `score` is
    `softmax`, the exponential of the value there over the sum over all cells (detectron2), or that value itself, the
    `logit` (torchvision).
    """

    names: tuple[str, ...]  # J keypoints, in the data set's order
    flip_pairs: tuple[tuple[str, str], ...] = ()  # what a mirror swaps: left and right
    sigmas: tuple[float, ...] = ()  # OKS constants in units of sqrt(area), one a keypoint; empty: 0.05 for all
    pooled_side: int = 14
    num_convs: int = 8
    channels: int = 512
    decoding: Decoding = "parabola"
    score: KeypointScore = "softmax"

    def __post_init__(self) -> None:
        decodings, scores = typing.get_args(Decoding), typing.get_args(KeypointScore)
        check(self.decoding in decodings, "keypoint_head.decoding", self.decoding, f"one of {decodings}")
        check(self.score in scores, "keypoint_head.score", self.score, f"one of {scores}")
        check(len(self.names) > 0, "keypoint_head.names", self.names, "at least one name")
        check(len(set(self.names)) == len(self.names), "keypoint_head.names", self.names, "each name once")
        flipped = [name for pair in self.flip_pairs for name in pair]
        good = len(set(flipped)) == len(flipped) and set(flipped) <= set(self.names)
        check(good, "keypoint_head.flip_pairs", self.flip_pairs, "pairs of names, each name in one pair at most")
        good = len(self.sigmas) in (0, len(self.names)) and all(sigma > 0 for sigma in self.sigmas)
        check(good, "keypoint_head.sigmas", self.sigmas, "none, or one number above 0 for each name")
        check(self.pooled_side > 0, "keypoint_head.pooled_side", self.pooled_side, "at least 1")
        check(self.num_convs > 0, "keypoint_head.num_convs", self.num_convs, "at least 1")
        check(self.channels > 0, "keypoint_head.channels", self.channels, "at least 1")

    @property
    def heatmap_side(self) -> int:
        """Cells a side of a heatmap."""
        return 4 * self.pooled_side

    @property
    def flip_order(self) -> tuple[int, ...]:
        """For each keypoint the index of the one that it becomes in a mirror image."""
        order = list(range(len(self.names)))
        for left, right in self.flip_pairs:
            i, j = self.names.index(left), self.names.index(right)
            order[i], order[j] = j, i
        return tuple(order)
