"""ModelSpec: everything that must be known to rebuild a model and to feed it, as frozen dataclasses.

A checkpoint, an artifact and a served model repository all carry it as JSON (`model.json`, `manifest.json`).
Conventions in which code bases differ are fields here and are honoured by training, export and serving alike.

Letters: K foreground classes, C channels, P pooled side, M mask side, D detections an image.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any, Literal, TypeVar

FORMAT = "maskline-model/1"
CANVAS_MULTIPLE = 32  # the deepest stride of the body: every level then is exactly half of the one before
NUM_LEVELS = 5  # P2 to P6
STRIDES = (4, 8, 16, 32, 64)  # P2 to P6, canvas pixels a cell
NUM_ROI_LEVELS = 4  # the heads read P2 to P5; P6 serves the region proposal network alone

_Depth = Literal[18, 50, 101]
_Norm = Literal["frozen_batch", "batch"]

_T = TypeVar("_T")


def _check(good: bool, name: str, got: object, expected: str) -> None:
    """Raise ValueError that names a field whose value is out of range. NaN fails every comparison, so it raises."""
    if not good:
        raise ValueError(f"{name}: got {got!r}, expected {expected}")


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
    """A ResNet body with a feature pyramid. Ref: paper 3.1 and the FPN paper it builds on."""

    depth: _Depth = 50
    base_channels: int = 64  # 64 is the published network; the CPU demo uses a slimmer one
    norm: _Norm = "frozen_batch"
    frozen_stages: int = 2  # 0 nothing, 1 the stem, 2 the stem and res2: what does not train
    stride_in_1x1: bool = False  # True: the original ResNet and Detectron; False: torchvision
    fpn_channels: int = 256

    def __post_init__(self) -> None:
        depths, norms = typing.get_args(_Depth), typing.get_args(_Norm)
        _check(self.depth in depths, "backbone.depth", self.depth, f"one of {depths}")
        _check(self.norm in norms, "backbone.norm", self.norm, f"one of {norms}")
        _check(self.base_channels > 0, "backbone.base_channels", self.base_channels, "at least 1")
        _check(0 <= self.frozen_stages <= 5, "backbone.frozen_stages", self.frozen_stages, "0 to 5")
        _check(self.fpn_channels > 0, "backbone.fpn_channels", self.fpn_channels, "at least 1")


@dataclasses.dataclass(frozen=True)
class AnchorSpec:
    """Anchors of the region proposal network: one size a level, P2 to P6. Ref: paper 3.1, 5 scales x 3 ratios."""

    sizes_px: tuple[float, ...] = (32.0, 64.0, 128.0, 256.0, 512.0)
    aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)  # height / width
    rounded: bool = False  # True: corner offsets rounded to whole pixels, as torchvision does
    centre_offset: float = 0.0  # in strides: 0 puts anchor centres on cell corners (torchvision, detectron2)

    def __post_init__(self) -> None:
        good = len(self.sizes_px) == NUM_LEVELS and min(self.sizes_px) > 0
        _check(good, "anchors.sizes_px", self.sizes_px, f"{NUM_LEVELS} sizes above 0, one for each of P2 to P6")
        good = len(self.aspect_ratios) > 0 and min(self.aspect_ratios) > 0
        _check(good, "anchors.aspect_ratios", self.aspect_ratios, "one or more numbers above 0")
        _check(0 <= self.centre_offset <= 1, "anchors.centre_offset", self.centre_offset, "0 to 1")


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
    """How features are read from the pyramid for a box. Ref: paper section 3, RoIAlign; FPN paper, equation 1."""

    sampling_ratio: int = 2  # points a bin and axis; 0: ceil(bin side), adaptive
    aligned: bool = True  # True: pixel centres at +0.5; False: the legacy half-pixel shift (torchvision's models)
    canonical_size_px: float = 224.0
    canonical_level: int = 4

    def __post_init__(self) -> None:
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
    """Convolutions, a deconvolution and one M x M mask a class, sigmoid. Ref: paper figure 4, right."""

    pooled_side: int = 14
    num_convs: int = 4
    channels: int = 256

    def __post_init__(self) -> None:
        _check(self.pooled_side > 0, "mask_head.pooled_side", self.pooled_side, "at least 1")
        _check(self.num_convs > 0, "mask_head.num_convs", self.num_convs, "at least 1")
        _check(self.channels > 0, "mask_head.channels", self.channels, "at least 1")

    @property
    def mask_side(self) -> int:
        """M: the deconvolution doubles the pooled side."""
        return 2 * self.pooled_side


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
    mask_head: MaskHeadSpec = MaskHeadSpec()

    def __post_init__(self) -> None:
        _check(len(self.classes) > 0, "classes", self.classes, "at least one name")
        twice = sorted({name for name in self.classes if self.classes.count(name) > 1})
        _check(not twice, "classes", twice, "each name once")
        for name in self.classes:
            good = name.strip() == name != "" and len(name.splitlines()) == 1
            _check(good, "classes", name, "a name without surrounding space on one line, as labels.txt holds it")

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
        return _build(ModelSpec, rest, "model")

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


def _build(cls: type[_T], data: Any, where: str) -> _T:
    """Build dataclass `cls` from a dict, checking keys and types all the way down."""
    if not isinstance(data, dict):
        raise ValueError(f"{where}: got {data!r}, expected an object")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise ValueError(f"{where}: unknown key {unknown[0]!r}, expected some of {', '.join(sorted(fields))}")
    for name, field in fields.items():
        if name not in data and field.default is dataclasses.MISSING:
            raise ValueError(f"{where}: missing key {name!r}")
    return cls(**{name: _convert(hints[name], value, f"{where}.{name}") for name, value in data.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Convert one JSON value to the annotated type `hint`, or raise ValueError naming `where`."""
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, where)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return _convert_tuple(args, value, where)
    if origin is Literal:
        if value not in args or isinstance(value, bool) != isinstance(args[0], bool):
            raise ValueError(f"{where}: got {value!r}, expected one of {', '.join(map(repr, args))}")
        return value
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _convert(args[0], value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ValueError(f"{where}: got {value!r}, expected a {hint.__name__}")
    return value


def _convert_tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    """Convert a JSON list to a homogeneous (`tuple[X, ...]`) or fixed tuple."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"{where}: got {value!r}, expected a list")
    hints = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
    if len(hints) != len(value):
        raise ValueError(f"{where}: got {len(value)} entries, expected {len(hints)}")
    return tuple(_convert(hint, item, f"{where}[{i}]") for i, (hint, item) in enumerate(zip(hints, value, strict=True)))
