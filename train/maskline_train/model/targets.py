"""What the network is trained towards: ground truth, sampling and matching.

Letters: G ground-truth objects, H W canvas.
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
    """

    boxes: Tensor
    labels: Tensor
    masks: Tensor


@dataclasses.dataclass(frozen=True)
class SamplingSpec:
    """How anchors and RoIs are chosen in training.

    Ref: Faster R-CNN 3.1.2 and 3.1.3 for the anchors; paper 3.1 for the RoIs: positive from IoU 0.5 on, 512 an image,
    "with a ratio of 1:3 of positive to negatives".
    """

    rpn_samples: int = 256
    rpn_positive_fraction: float = 0.5
    rpn_positive_iou: float = 0.7
    rpn_negative_iou: float = 0.3
    pre_nms_per_level: int = 2000  # FPN paper 4.1 and Detectron: more proposals than at inference
    max_proposals: int = 2000
    roi_samples: int = 512
    roi_positive_fraction: float = 0.25
    roi_positive_iou: float = 0.5
