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
