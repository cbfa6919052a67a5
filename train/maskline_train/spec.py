"""ModelSpec: everything that must be known to rebuild a model and to feed it, as frozen dataclasses.

A checkpoint, an artifact and a served model repository all carry it as JSON (`model.json`, `manifest.json`).
Conventions in which code bases differ are fields here and are honoured by training, export and serving alike.

Letters: K foreground classes, C channels, P pooled side, M mask side, D detections an image.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from pathlib import Path
from typing import Any, Literal

from maskline_train.spec_json import build
from maskline_train.spec_json import check as _check

FORMAT = "maskline-model/1"
CANVAS_MULTIPLE = 32  # the deepest stride of the body: every level then is exactly half of the one before
FIRST_LEVEL = 2  # levels are numbered by the log2 of their stride: the finest of a pyramid, of stride 4, is level 2
STRIDES = (4, 8, 16, 32, 64)  # P2 to P6, canvas pixels a cell

_Depth = Literal[18, 50, 101, 152]
_Norm = Literal["frozen_batch", "batch", "sync_batch", "group"]
_Features = Literal["fpn", "c4", "c5"]
_RoIMode = Literal["align_avg", "align_max", "pool", "warp"]
_MaskHead = Literal["fcn", "mlp", "res5"]
_MaskActivation = Literal["sigmoid", "softmax"]


@dataclasses.dataclass(frozen=True)
class PreprocessingSpec:
    """How an image file becomes the network's canvas.

    The shorter side is resized to `shorter_side_px` unless the longer one would exceed `longer_side_px`
    (paper, section 3.1: "resized such that their scale (shorter edge) is 800 pixels"); the result is padded at
    the right and bottom with zeros to the smallest canvas that holds it. Normalisation happens inside the
    network: `(pixel - mean) / std` per RGB channel, in 0..255 units.
    """

    shorter_side_px: int = 800
    longer_side_px: int = 1333
    canvases: tuple[tuple[int, int], ...] = ((800, 1344), (1344, 800), (1344, 1344))  # (height, width)
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)  # ImageNet means used by torchvision, times 255
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)

    def __post_init__(self) -> None:
        _check(self.shorter_side_px > 0, "preprocessing.shorter_side_px", self.shorter_side_px, "at least 1")
        _check(
            self.shorter_side_px <= self.longer_side_px,
            "preprocessing.longer_side_px",
            self.longer_side_px,
            f"at least shorter_side_px ({self.shorter_side_px})",
        )
        _check(len(self.canvases) > 0, "preprocessing.canvases", self.canvases, "at least one (height, width)")
        for canvas in self.canvases:
            good = all(side > 0 and side % CANVAS_MULTIPLE == 0 for side in canvas)
            _check(good, "preprocessing.canvases", canvas, f"sides that are multiples of {CANVAS_MULTIPLE}")
        _check(min(self.std) > 0, "preprocessing.std", self.std, "numbers above 0")


@dataclasses.dataclass(frozen=True)
class BackboneSpec:
    """A ResNet or ResNeXt body and the features that RPN and heads read. Ref: paper 3.1, "Network Architecture".

    ResNeXt 32x8d is `groups=32, width_per_group=8`, 64x4d `groups=64, width_per_group=4`. Levels are numbered by the
    log2 of their stride. `fpn`: RPN on P2 to P6, heads on P2 to P5. `c4`: both on C4, the body's own fourth stage (its
    fifth is part of the heads). `c5`: both on C5, stride 32.
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

    def __post_init__(self) -> None:
        depths, norms = typing.get_args(_Depth), typing.get_args(_Norm)
        _check(self.depth in depths, "backbone.depth", self.depth, f"one of {depths}")
        _check(self.norm in norms, "backbone.norm", self.norm, f"one of {norms}")
        _check(self.base_channels > 0, "backbone.base_channels", self.base_channels, "at least 1")
        _check(0 <= self.frozen_stages <= 5, "backbone.frozen_stages", self.frozen_stages, "0 to 5")
        _check(self.fpn_channels > 0, "backbone.fpn_channels", self.fpn_channels, "at least 1")
        features = typing.get_args(_Features)
        _check(self.features in features, "backbone.features", self.features, f"one of {features}")
        _check(self.groups > 0, "backbone.groups", self.groups, "at least 1")
        _check(self.width_per_group > 0, "backbone.width_per_group", self.width_per_group, "at least 1")
        _check(self.depth != 18 or self.groups == 1, "backbone.groups", self.groups, "1 for depth 18 (basic blocks)")

    @property
    def rpn_levels(self) -> tuple[int, ...]:
        """Level numbers that the region proposal network reads, finest first."""
        return {"fpn": (2, 3, 4, 5, 6), "c4": (4,), "c5": (5,)}[self.features]

    @property
    def roi_levels(self) -> tuple[int, ...]:
        """Level numbers that the heads read, finest first: P6 serves the region proposal network alone."""
        return {"fpn": (2, 3, 4, 5), "c4": (4,), "c5": (5,)}[self.features]

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the tensors that the heads read, in the artifact and on the wire: p2 to p5, or c4, or c5."""
        letter = "p" if self.features == "fpn" else "c"
        return tuple(f"{letter}{level}" for level in self.roi_levels)

    @property
    def body_channels(self) -> tuple[int, int, int, int]:
        """Channels of C2 to C5."""
        widest = self.base_channels * (1 if self.depth == 18 else 4)
        return (widest, 2 * widest, 4 * widest, 8 * widest)

    @property
    def feature_channels(self) -> int:
        """C: channels of every level that RPN and heads read."""
        return {"fpn": self.fpn_channels, "c4": self.body_channels[2], "c5": self.body_channels[3]}[self.features]


@dataclasses.dataclass(frozen=True)
class AnchorSpec:
    """Anchors of the region proposal network. Ref: paper 3.1, 5 scales x 3 ratios.

    The sizes are dealt out over the levels, finest first, the same number each: one a level on P2 to P6, all of them
    on the single level of C4 or C5. Anchors of a cell are ordered by size, then by ratio.
    """

    sizes_px: tuple[float, ...] = (32.0, 64.0, 128.0, 256.0, 512.0)
    aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)  # height / width
    rounded: bool = False  # True: corner offsets rounded to whole pixels, as torchvision does
    centre_offset: float = 0.0  # in strides: 0 puts anchor centres on cell corners (torchvision, detectron2)

    def __post_init__(self) -> None:
        good = len(self.sizes_px) > 0 and min(self.sizes_px) > 0
        _check(good, "anchors.sizes_px", self.sizes_px, "one or more sizes above 0")
        good = len(self.aspect_ratios) > 0 and min(self.aspect_ratios) > 0
        _check(good, "anchors.aspect_ratios", self.aspect_ratios, "one or more numbers above 0")
        _check(0 <= self.centre_offset <= 1, "anchors.centre_offset", self.centre_offset, "0 to 1")

    def sizes_of_level(self, index: int, num_levels: int) -> tuple[float, ...]:
        """The sizes of level `index` (0 the finest) of `num_levels`."""
        each = len(self.sizes_px) // num_levels
        return self.sizes_px[index * each : (index + 1) * each]

    def per_cell(self, num_levels: int) -> int:
        """A: anchors a cell."""
        return len(self.sizes_px) // num_levels * len(self.aspect_ratios)


@dataclasses.dataclass(frozen=True)
class ProposalSpec:
    """From RPN outputs to proposals, at inference. Ref: paper 3.1, "1000 for FPN"."""

    pre_nms_per_level: int = 1000
    max_proposals: int = 1000  # R, after the joint top-k over the levels
    nms_thresh: float = 0.7
    min_side_px: float = 1e-3  # smaller boxes are dropped before NMS

    def __post_init__(self) -> None:
        _check(self.pre_nms_per_level > 0, "proposals.pre_nms_per_level", self.pre_nms_per_level, "at least 1")
        _check(self.max_proposals > 0, "proposals.max_proposals", self.max_proposals, "at least 1")
        _check(0 < self.nms_thresh <= 1, "proposals.nms_thresh", self.nms_thresh, "above 0, at most 1")
        _check(self.min_side_px > 0, "proposals.min_side_px", self.min_side_px, "above 0")


@dataclasses.dataclass(frozen=True)
class RoIAlignSpec:
    """How features are read for a box. Ref: paper section 3, RoIAlign; FPN paper, equation 1, for the level.

    Modes: `align_avg` the average of bilinear samples (the paper's default), `align_max` their maximum, `pool` RoIPool,
    `warp` RoIWarp (quantised as RoIPool, then bilinear).
    """

    sampling_ratio: int = 2  # points a bin and axis; 0: ceil(bin side), adaptive
    aligned: bool = True  # True: pixel centres at +0.5; False: the legacy half-pixel shift (torchvision's models)
    canonical_size_px: float = 224.0
    canonical_level: int = 4
    mode: _RoIMode = "align_avg"

    def __post_init__(self) -> None:
        modes = typing.get_args(_RoIMode)
        _check(self.mode in modes, "roi_align.mode", self.mode, f"one of {modes}")
        _check(self.sampling_ratio >= 0, "roi_align.sampling_ratio", self.sampling_ratio, "at least 0 (adaptive)")
        _check(self.canonical_size_px > 0, "roi_align.canonical_size_px", self.canonical_size_px, "above 0")


@dataclasses.dataclass(frozen=True)
class BoxHeadSpec:
    """Two fully connected layers, then class logits (K + 1, background last) and class-wise box deltas (4K)."""

    pooled_side: int = 7
    hidden: int = 1024
    delta_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    score_thresh: float = 0.05
    nms_thresh: float = 0.5
    max_detections: int = 100  # D
    min_side_px: float = 1e-2

    def __post_init__(self) -> None:
        _check(self.pooled_side > 0, "box_head.pooled_side", self.pooled_side, "at least 1")
        _check(self.hidden > 0, "box_head.hidden", self.hidden, "at least 1")
        _check(min(self.delta_weights) > 0, "box_head.delta_weights", self.delta_weights, "numbers above 0")
        _check(0 <= self.score_thresh <= 1, "box_head.score_thresh", self.score_thresh, "0 to 1")
        _check(0 < self.nms_thresh <= 1, "box_head.nms_thresh", self.nms_thresh, "above 0, at most 1")
        _check(self.max_detections > 0, "box_head.max_detections", self.max_detections, "at least 1")
        _check(self.min_side_px > 0, "box_head.min_side_px", self.min_side_px, "above 0")


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

    def __post_init__(self) -> None:
        kinds, activations = typing.get_args(_MaskHead), typing.get_args(_MaskActivation)
        _check(self.kind in kinds, "mask_head.kind", self.kind, f"one of {kinds}")
        _check(self.activation in activations, "mask_head.activation", self.activation, f"one of {activations}")
        _check(self.pooled_side > 0, "mask_head.pooled_side", self.pooled_side, "at least 1")
        _check(self.num_convs > 0, "mask_head.num_convs", self.num_convs, "at least 1")
        _check(self.channels > 0, "mask_head.channels", self.channels, "at least 1")
        _check(self.hidden > 0, "mask_head.hidden", self.hidden, "at least 1")

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
    """

    names: tuple[str, ...]  # J keypoints, in the data set's order
    flip_pairs: tuple[tuple[str, str], ...] = ()  # what a mirror swaps: left and right
    sigmas: tuple[float, ...] = ()  # OKS constants in units of sqrt(area), one a keypoint; empty: 0.05 for all
    pooled_side: int = 14
    num_convs: int = 8
    channels: int = 512

    def __post_init__(self) -> None:
        _check(len(self.names) > 0, "keypoint_head.names", self.names, "at least one name")
        _check(len(set(self.names)) == len(self.names), "keypoint_head.names", self.names, "each name once")
        flipped = [name for pair in self.flip_pairs for name in pair]
        good = len(set(flipped)) == len(flipped) and set(flipped) <= set(self.names)
        _check(good, "keypoint_head.flip_pairs", self.flip_pairs, "pairs of names, each name in one pair at most")
        good = len(self.sigmas) in (0, len(self.names)) and all(sigma > 0 for sigma in self.sigmas)
        _check(good, "keypoint_head.sigmas", self.sigmas, "none, or one number above 0 for each name")
        _check(self.pooled_side > 0, "keypoint_head.pooled_side", self.pooled_side, "at least 1")
        _check(self.num_convs > 0, "keypoint_head.num_convs", self.num_convs, "at least 1")
        _check(self.channels > 0, "keypoint_head.channels", self.channels, "at least 1")

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


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """A whole Mask R-CNN: architecture, classes, conventions, preprocessing.

    Class index k in 0..K-1 is `classes[k]`, everywhere (training targets, artifact, wire); -1 is padding.
    """

    classes: tuple[str, ...]
    preprocessing: PreprocessingSpec = PreprocessingSpec()
    backbone: BackboneSpec = BackboneSpec()
    anchors: AnchorSpec = AnchorSpec()
    proposals: ProposalSpec = ProposalSpec()
    roi_align: RoIAlignSpec = RoIAlignSpec()
    box_head: BoxHeadSpec = BoxHeadSpec()
    mask_head: MaskHeadSpec | None = MaskHeadSpec()  # None: boxes only (Faster R-CNN with RoIAlign)
    keypoint_head: KeypointHeadSpec | None = None

    def __post_init__(self) -> None:
        _check(len(self.classes) > 0, "classes", self.classes, "at least one name")
        twice = sorted({name for name in self.classes if self.classes.count(name) > 1})
        _check(not twice, "classes", twice, "each name once")
        for name in self.classes:
            good = name.strip() == name != "" and len(name.splitlines()) == 1
            _check(good, "classes", name, "a name without surrounding space on one line, as labels.txt holds it")
        sizes, levels = self.anchors.sizes_px, len(self.backbone.rpn_levels)
        _check(len(sizes) % levels == 0, "anchors.sizes_px", sizes, f"the same number for each of {levels} level(s)")
        fits = self.mask_head is None or self.mask_head.kind != "res5" or self.backbone.features == "c4"
        _check(fits, "mask_head.kind", "res5", 'backbone.features "c4", whose heads hold the fifth stage')

    @property
    def num_classes(self) -> int:
        """K, the number of foreground classes."""
        return len(self.classes)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict with a `format` entry, the inverse of `from_dict`."""
        return {"format": FORMAT, **dataclasses.asdict(self)}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> ModelSpec:
        """Rebuild a spec.

        Raises:
            ValueError: another format, an unknown or missing key, or a value of the wrong type; the text names
                the key.
        """
        rest = dict(data)
        found = rest.pop("format", None)
        if found != FORMAT:
            raise ValueError(f"model spec: got format {found!r}, expected {FORMAT!r}; re-create it with this release")
        return build(ModelSpec, rest, "model")

    def save(self, path: Path) -> None:
        """Write the spec as JSON."""
        path.write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")

    @staticmethod
    def load(path: Path) -> ModelSpec:
        """Read what `save` wrote.

        Raises:
            ValueError: not JSON, or not a spec of this format.
            FileNotFoundError: no such file.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not JSON ({error}); expected a model.json written by maskline-train") from error
        if not isinstance(data, dict):
            raise ValueError(f"{path}: got a JSON {type(data).__name__}, expected an object")
        return ModelSpec.from_dict(data)
