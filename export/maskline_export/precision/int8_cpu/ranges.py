"""Ranges of 8-bit activations: the one of least square error on what the calibration images gave.

The largest value of a map is often ten to twenty times its standard deviation. A range up to there spends most of the
256 levels on values that hardly occur; cutting them off costs less than coarse levels do.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

LEVELS = 255  # uint8: what the instructions multiply with int8 weights (VNNI), and what ONNX Runtime has kernels for
SAMPLES = 250_000  # values kept of a tensor, of all images together
_FRACTIONS = np.linspace(1.0, 0.15, 35, dtype=np.float32)  # of the whole range, tried; the widest of equals is taken


@dataclasses.dataclass(frozen=True)
class Range:
    """How a tensor is rounded to uint8: value = scale * (level - zero_point)."""

    scale: np.float32
    zero_point: int


class Observed:
    """What was seen of one tensor: its extremes, and a sample of its values."""

    def __init__(self, images: int) -> None:
        """Expect this many arrays; the sample is as large for few as for many."""
        self._kept = max(1, SAMPLES // images)
        self._low, self._high = np.float32(0), np.float32(0)  # zero must be a level: padding and ReLU are exact then
        self._samples: list[npt.NDArray[np.float32]] = []

    @property
    def empty(self) -> bool:
        """Whether no value was seen."""
        return not self._samples

    def add(self, values: npt.NDArray[np.float32], seed: int) -> None:
        """Look at a tensor of any shape, of float32; one without values says nothing."""
        flat = values.reshape(-1)
        if not flat.size:
            return
        self._low, self._high = min(self._low, flat.min()), max(self._high, flat.max())
        if flat.size > self._kept:
            flat = flat[np.random.default_rng(seed).integers(0, flat.size, self._kept)]
        self._samples.append(flat.copy())

    def range(self) -> Range:
        """The range of least mean square error, among fractions of the whole; not of a tensor without values."""
        values = np.concatenate(self._samples)
        tried = [_range(self._low * part, self._high * part) for part in _FRACTIONS]
        return min(tried, key=lambda found: _square_error(values, found))


def _range(low: np.float32, high: np.float32) -> Range:
    width = high - low or np.float32(1)  # of a tensor that was zero everywhere: as good as any
    scale = np.float32(width / LEVELS)
    return Range(scale, int(np.clip(np.rint(-low / scale), 0, LEVELS)))


def _square_error(values: npt.NDArray[np.float32], found: Range) -> float:
    levels = np.clip(np.rint(values / found.scale), -found.zero_point, LEVELS - found.zero_point)
    return float(np.square(levels * found.scale - values).mean())
