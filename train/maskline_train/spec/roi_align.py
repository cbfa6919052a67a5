"""How features are read for a box."""

from __future__ import annotations

import dataclasses
import typing
from typing import Literal

from maskline_train.spec.from_json import check

_RoIMode = Literal["align_avg", "align_max", "pool", "warp"]


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
        check(self.mode in modes, "roi_align.mode", self.mode, f"one of {modes}")
        check(self.sampling_ratio >= 0, "roi_align.sampling_ratio", self.sampling_ratio, "at least 0 (adaptive)")
        check(self.canonical_size_px > 0, "roi_align.canonical_size_px", self.canonical_size_px, "above 0")
