"""What a picture is drawn of: the client's `Detections` has it, and so have ground truth and a smaller view of either.

Letters: N objects, J keypoints, H W the picture.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt


class Drawable(Protocol):
    """Objects of one picture, best first; the fields are those of the client's `Detections`."""

    @property
    def boxes(self) -> npt.NDArray[np.float32]:
        """[N, 4] xyxy, px."""

    @property
    def scores(self) -> npt.NDArray[np.float32] | None:
        """[N]; None of ground truth, whose labels are names alone."""

    @property
    def labels(self) -> npt.NDArray[np.int32] | npt.NDArray[np.int64]:
        """[N]."""

    @property
    def names(self) -> tuple[str, ...]:
        """N class names."""

    @property
    def rle(self) -> object:
        """None where there are no masks; nothing looks at what else it is."""

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
