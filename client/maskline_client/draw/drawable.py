"""What a picture is drawn of: `Detections` has it, and so has a smaller view of them.

Letters: N objects, J keypoints, H W the picture.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt


class Drawable(Protocol):
    """Objects of one picture, best first; the fields are those of `Detections`, which says what each holds."""

    @property
    def boxes(self) -> npt.NDArray[np.float32]:
        """[N, 4] xyxy, px."""

    @property
    def scores(self) -> npt.NDArray[np.float32]:
        """[N]."""

    @property
    def labels(self) -> npt.NDArray[np.int32]:
        """[N]."""

    @property
    def names(self) -> tuple[str, ...]:
        """N class names."""

    @property
    def rle(self) -> tuple[bytes, ...] | None:
        """None where there are no masks."""

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width), px."""

    @property
    def keypoints(self) -> npt.NDArray[np.float32] | None:
        """[N, J, 3], or None."""

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """J names."""

    def mask(self, index: int) -> npt.NDArray[np.bool_]:
        """[H, W]; asked for where `rle` is not None alone."""
