"""torchvision as its users serve it: JPEG bytes in, COCO results out, in this process."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pycocotools.mask
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
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


def detect(model: TorchvisionMaskRCNN, file: bytes) -> Found:
    """One file, in float32 on the CPU."""
    return detect_batch(model, [file])[0]


@torch.inference_mode()
def detect_batch(
    model: TorchvisionMaskRCNN, files: Sequence[bytes], device: str = "cpu", half: torch.dtype | None = None
) -> list[Found]:
    """Decode, infer, paste (torchvision does that inside), cut at 0.5, encode.

    Args:
        model: on `device`.
        files: of one batch.
        device: `cpu` or `cuda`.
        half: the type of autocast; None: float32.
    """
    images = [to_tensor(Image.open(io.BytesIO(file)).convert("RGB")).to(device) for file in files]
    with torch.autocast(device, half, enabled=half is not None):
        answers = model(images)
    return [_found({name: tensor.cpu() for name, tensor in answer.items()}) for answer in answers]


def _found(answer: dict[str, Tensor]) -> Found:
    masks = (answer["masks"][:, 0] > 0.5).numpy().astype(np.uint8)
    encoded = [pycocotools.mask.encode(np.asfortranarray(mask)) for mask in masks]
    boxes, scores = (answer[name].float().numpy() for name in ("boxes", "scores"))
    return Found(boxes, scores, answer["labels"].numpy() - 1, encoded)
