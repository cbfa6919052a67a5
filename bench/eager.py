"""torchvision as its users serve it: JPEG bytes in, COCO results out, in this process."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import numpy as np
import pycocotools.mask
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.models.detection import MaskRCNN as TorchvisionMaskRCNN
from torchvision.transforms.functional import to_tensor


@dataclasses.dataclass(frozen=True)
class Found:
    """The objects of one image by either side, best first.

    Attributes:
        boxes: [N, 4] float32 xyxy px of the original image.
        scores: [N] float32.
        labels: [N] int, 0..K-1.
        masks: N COCO RLE of the original size, as pycocotools has them.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: list[dict[str, Any]]


@torch.inference_mode()
def detect(model: TorchvisionMaskRCNN, file: bytes) -> Found:
    """Decode, infer, paste (torchvision does that inside), cut at 0.5, encode."""
    image = to_tensor(Image.open(io.BytesIO(file)).convert("RGB"))
    found = model([image])[0]
    masks = (found["masks"][:, 0] > 0.5).numpy().astype(np.uint8)
    encoded = [pycocotools.mask.encode(np.asfortranarray(mask)) for mask in masks]
    return Found(found["boxes"].numpy(), found["scores"].numpy(), found["labels"].numpy() - 1, encoded)


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How two sides' objects of an image match.

    Attributes:
        ours: objects of the one.
        theirs: objects of the other.
        matched: pairs of the same class that overlap with IoU of at least 0.9, each object once, best scores first.
        mask_iou: mean IoU of the matched pairs' masks.
        score_error: largest difference of a matched pair's scores.
    """

    ours: int
    theirs: int
    matched: int
    mask_iou: float
    score_error: float

    @property
    def share(self) -> float:
        """Matched pairs over the larger number of objects; 1 where both found none."""
        return self.matched / max(self.ours, self.theirs) if self.ours or self.theirs else 1.0


MATCH_IOU = 0.9  # of boxes


def agreement(ours: Found, theirs: Found) -> Agreement:
    """Match greedily in the order of `ours`, each with the free object of its class that overlaps most."""
    free = set(range(len(theirs.labels)))
    pairs: list[tuple[int, int]] = []
    for index in range(len(ours.labels)):
        rivals = [other for other in free if theirs.labels[other] == ours.labels[index]]
        best = max(rivals, key=lambda other: _iou(ours.boxes[index], theirs.boxes[other]), default=None)
        if best is not None and _iou(ours.boxes[index], theirs.boxes[best]) >= MATCH_IOU:
            free.remove(best)
            pairs.append((index, best))
    overlaps = [float(pycocotools.mask.iou([ours.masks[a]], [theirs.masks[b]], [0])[0, 0]) for a, b in pairs]
    errors = [abs(float(ours.scores[a]) - float(theirs.scores[b])) for a, b in pairs]
    return Agreement(
        len(ours.labels), len(theirs.labels), len(pairs), float(np.mean(overlaps or [1.0])), max(errors, default=0.0)
    )


def _iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """IoU of two boxes xyxy."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, float(width)) * max(0.0, float(height))
    area_a, area_b = float((a[2] - a[0]) * (a[3] - a[1])), float((b[2] - b[0]) * (b[3] - b[1]))
    return shared / max(area_a + area_b - shared, 1e-9)
