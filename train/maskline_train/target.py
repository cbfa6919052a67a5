"""Ground truth of one image, as the data make it and the model takes it.

Letters: G ground-truth objects, J keypoints, K foreground classes, H W canvas.
"""

from __future__ import annotations

import dataclasses

from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Target:
    """Ground truth of one image.

    Attributes:
        boxes: [G, 4] float32 xyxy canvas px with positive sides; G may be 0.
        labels: [G] int64 in 0..K-1.
        masks: [G, H, W] bool or uint8 (0 or 1), of the size of the canvas.
        keypoints: [G, J, 3] float32 x, y canvas px and visibility (above 0: labelled); None where the data have none.
    """

    boxes: Tensor
    labels: Tensor
    masks: Tensor
    keypoints: Tensor | None = None
