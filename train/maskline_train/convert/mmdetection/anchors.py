"""mmdetection's anchors as ours.

Ref: mmdet/models/task_modules/prior_generators/anchor_generator.py of 3.3.0. Letters: A anchors a cell.
"""

from __future__ import annotations

from typing import Any

from maskline_train.convert.architecture import Architecture
from maskline_train.convert.mmdetection.config import Values
from maskline_train.spec import FIRST_LEVEL, AnchorSpec

_GENERATOR = "rpn_head.anchor_generator."


def anchors_of(found: Architecture, settings: Values) -> AnchorSpec:
    """The sizes, `base size x scale`, and ratios.

    Raises:
        ValueError: others than those of `FPN`, C4 or DC5, or not as many as the weights have.
    """
    strides = [_side(stride) for stride in settings[f"{_GENERATOR}strides"]]
    expected = [2 ** (FIRST_LEVEL + level) for level in range(5)] if found.features == "fpn" else [16]
    if strides != expected:
        raise ValueError(f"config: model.{_GENERATOR}strides is {strides}, supported: {expected}")
    sides = settings.get(f"{_GENERATOR}base_sizes") or strides
    offset = settings[f"{_GENERATOR}center_offset"]
    if len(sides) != len(strides) or (offset and sides != strides):
        raise ValueError(f"config: model.{_GENERATOR}base_sizes is {sides}, expected one a level of {strides}")
    scales, ratios = scales_of(settings), settings[f"{_GENERATOR}ratios"]
    if len(scales) * len(ratios) != found.anchors:
        raise ValueError(
            f"config: model.{_GENERATOR[:-1]} has {len(scales) * len(ratios)} anchors a cell, the weights have "
            f"{found.anchors}; config and weights belong to two networks"
        )
    return AnchorSpec(
        sizes_px=tuple(float(side * scale) for side in sides for scale in scales),
        aspect_ratios=tuple(float(ratio) for ratio in ratios),
        centre_offset=float(offset),
    )


def scales_of(settings: Values) -> list[float]:
    """Those that are listed, or the parts of an octave.

    Raises:
        ValueError: neither.
    """
    scales: Any = settings.get(f"{_GENERATOR}scales")
    base, count = (settings.get(f"{_GENERATOR}{name}") for name in ("octave_base_scale", "scales_per_octave"))
    if scales is None and isinstance(base, int | float) and isinstance(count, int) and count > 0:
        return [base * 2 ** (part / count) for part in range(count)]
    if not isinstance(scales, list) or not scales or not all(isinstance(each, int | float) for each in scales):
        raise ValueError(f"config: model.{_GENERATOR}scales is {scales!r}, expected a list of numbers")
    return scales


def _side(stride: Any) -> Any:
    """Of a stride that may be given for both axes."""
    return stride[0] if isinstance(stride, list) and len(set(stride)) == 1 else stride
