"""The checkpoints of other frameworks in `tests/foreign`, and the answers that the framework gave."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from maskline_train.data.images import Pixels, decode_image
from torch import Tensor

FOLDER = Path(__file__).parents[2] / "foreign"


@dataclasses.dataclass(frozen=True)
class Golden:
    """What the framework found in a picture.

    Attributes:
        image: [h, w, 3] RGB.
        padded: (height, width) of its canvas.
        boxes: [N, 4] xyxy in the picture.
        scores: [N].
        classes: [N].
        masks: N COCO RLE; None for a network without masks.
    """

    image: Pixels
    padded: tuple[int, int]
    boxes: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    classes: npt.NDArray[np.int64]
    masks: list[dict[str, Any]] | None


def checkpoint(name: str) -> Path:
    """The file of weights, e.g. of `detectron2/mask_fpn_bgr`."""
    return next((FOLDER / name).glob("model_final.*"))


def classes(name: str) -> tuple[str, ...]:
    return tuple((FOLDER / name / "classes.txt").read_text(encoding="utf-8").split())


def goldens(name: str) -> dict[str, Golden]:
    """The answers, by picture."""
    content = json.loads((FOLDER / name / "golden.json").read_text(encoding="utf-8"))
    return {picture: _golden(answer) for picture, answer in content["images"].items()}


def _golden(answer: dict[str, Any]) -> Golden:
    height, width = answer["padded_size"]
    return Golden(
        image=decode_image(FOLDER / answer["image"]),
        padded=(height, width),
        boxes=np.array(answer["boxes"], np.float64).reshape(-1, 4),
        scores=np.array(answer["scores"], np.float64),
        classes=np.array(answer["classes"], np.int64),
        masks=answer.get("masks"),
    )


@functools.cache
def shapes(network: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a full-size network, e.g. `detectron2_mask_rcnn_R_50_FPN_3x`."""
    content = json.loads((FOLDER / "keys" / f"{network}.json").read_text(encoding="utf-8"))
    return {name: tuple(shape) for name, shape in content["tensors"].items()}


def weights(network: str) -> dict[str, Tensor]:
    """Tensors of these names and shapes that take no memory."""
    return {name: torch.zeros(()).expand(shape) for name, shape in shapes(network).items()}
