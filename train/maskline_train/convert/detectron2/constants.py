"""Constants of the framework that files of older releases hold beside the weights: pixel means, and anchors.

Ref: detectron2/modeling/anchor_generator.py (`generate_cell_anchors`): anchors by size, then ratio (height / width).
Letters: A anchors a cell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from maskline_train.convert.detectron2.config import Values

_MEAN, _STD = "MODEL.PIXEL_MEAN", "MODEL.PIXEL_STD"
_SIZES, _RATIOS = "MODEL.ANCHOR_GENERATOR.SIZES", "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS"
_PIXELS = {"pixel_mean": _MEAN, "pixel_std": _STD}
_CELLS = re.compile(r"proposal_generator\.anchor_generator\.cell_anchors\.(\d+)")
_NEAR = 1e-2  # px, and of 255: `_short` keeps five digits, of numbers up to 724


def is_constant(name: str) -> bool:
    """Whether this is no weight."""
    return name in _PIXELS or _CELLS.fullmatch(name) is not None


def settings_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The settings that a file's constants say; empty without any.

    Raises:
        ValueError: constants of another shape than detectron2's, or anchors that no sizes and ratios make.
    """
    found: dict[str, Any] = {}
    for name, setting in _PIXELS.items():
        if name in tensors:
            if tensors[name].numel() != 3:
                raise ValueError(f"weight {name!r}: got shape {list(tensors[name].shape)}, expected 3 numbers")
            found[setting] = [_short(value, 6) for value in tensors[name].flatten().tolist()]
    cells = sorted((int(match[1]), name) for name in tensors if (match := _CELLS.fullmatch(name)))
    if cells:
        sides = [_sizes_and_ratios(name, tensors[name]) for _, name in cells]
        found[_SIZES] = [sizes for sizes, _ in sides]
        found[_RATIOS] = [ratios for _, ratios in sides]
    return found


def _sizes_and_ratios(name: str, anchors: Tensor) -> tuple[list[float], list[float]]:
    """Of the anchors [A, 4] xyxy of a cell."""
    if anchors.dim() != 2 or anchors.shape[1] != 4 or not len(anchors):
        raise ValueError(f"weight {name!r}: got shape {list(anchors.shape)}, expected anchors [A, 4]")
    sides = (anchors[:, 2:] - anchors[:, :2]).double()
    sizes = [_short(value) for value in sides.prod(1).clamp(min=0).sqrt().tolist()]
    ratios = [_short(value) for value in (sides[:, 1] / sides[:, 0]).tolist()]
    ones = list(dict.fromkeys(sizes)), list(dict.fromkeys(ratios))
    if min(sizes) <= 0 or sizes != [size for size in ones[0] for _ in ones[1]] or ratios != ones[1] * len(ones[0]):
        raise ValueError(f"weight {name!r}: its anchors are of no sizes times ratios; other anchors are not supported")
    return ones


def _short(value: float, digits: int = 5) -> float:
    """Without the noise of float32: 123.675 has six digits, and sides went through a root."""
    return float(f"{value:.{digits}g}")


def check_constants(constants: Values, config: Values) -> None:
    """Raise where the config says others.

    Raises:
        ValueError: naming the setting.
    """
    for name, of_file in constants.items():
        if name in config and not _same(config[name], of_file):
            raise ValueError(
                f"config: {name} is {config[name]!r}, the file of weights has {of_file!r}; "
                "give the config that was written beside these weights"
            )


def _same(said: Any, of_file: Any) -> bool:
    """Whether they are the same numbers; one list in place of several counts for every level."""
    if isinstance(said[0], list) and len(said) == 1:
        said = said * len(of_file)
    flat = [torch.tensor(value, dtype=torch.float64) for value in (said, of_file)]
    return flat[0].shape == flat[1].shape and bool((flat[0] - flat[1]).abs().max() <= _NEAR)
