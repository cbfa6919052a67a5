"""The checkpoints of other frameworks in `tests/foreign`, and the answers that the framework gave."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from maskline_train.convert.options import ImportOptions
from maskline_train.data.images import Pixels, decode_image
from pycocotools import mask as coco_mask
from torch import Tensor

FOLDER = Path(__file__).parents[2] / "foreign"
# Between two right implementations of these networks, by the makers' own comparison in float64 and float32: rounding of
# 1e-5 in the features moves a box by up to 4e-3 px and a score by up to 1e-4 (x 5 for other processors' sums).
# Seen with AVX-512, with AVX2 and with neither: 7e-4 px and 8e-5 (`pytest -s` prints them).
BOX_PX, SCORE = 4e-3, 5e-4
# A pixel of the canvas is 0.7 to 1.3 of the picture: the same one is found, in boxes that far away. Seen: 5e-4 px.
KEYPOINT_PX = 5e-3


@dataclasses.dataclass(frozen=True)
class Golden:
    """What the framework found in a picture.

    Attributes:
        path: of the picture's file.
        image: [h, w, 3] RGB.
        padded: (height, width) of its canvas.
        boxes: [N, 4] xyxy in the picture.
        scores: [N].
        classes: [N].
        masks: N COCO RLE; None for a network without masks.
        keypoints: [N, J, 3] x, y in the picture and score; None for a network without keypoints.
    """

    path: Path
    image: Pixels
    padded: tuple[int, int]
    boxes: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    classes: npt.NDArray[np.int64]
    masks: list[dict[str, Any]] | None
    keypoints: npt.NDArray[np.float64] | None


def checkpoint(name: str) -> Path:
    """The file of weights, e.g. of `detectron2/mask_fpn_bgr`."""
    return next((FOLDER / name).glob("model_final.*"))


def classes(name: str) -> tuple[str, ...]:
    return tuple((FOLDER / name / "classes.txt").read_text(encoding="utf-8").split())


def sizes(name: str) -> dict[str, dict[str, int]]:
    """The files of answers of a network, and the settings of the size that each was made at."""
    usual = {"preprocessing.shorter_side_px": 800, "preprocessing.longer_side_px": 1333}
    files: dict[str, dict[str, int]] = {"golden.json": {}, "golden_800_1333.json": usual}
    return {file: settings for file, settings in files.items() if (FOLDER / name / file).is_file()}


def goldens(name: str, file: str = "golden.json") -> dict[str, Golden]:
    """The answers, by picture."""
    content = json.loads((FOLDER / name / file).read_text(encoding="utf-8"))
    return {picture: _golden(answer) for picture, answer in content["images"].items()}


def _golden(answer: dict[str, Any]) -> Golden:
    height, width = answer["padded_size"]
    return Golden(
        path=FOLDER / answer["image"],
        image=decode_image(FOLDER / answer["image"]),
        padded=(height, width),
        boxes=np.array(answer["boxes"], np.float64).reshape(-1, 4),
        scores=np.array(answer["scores"], np.float64),
        classes=np.array(answer["classes"], np.int64),
        masks=answer.get("masks"),
        keypoints=np.array(answer["keypoints"], np.float64) if "keypoints" in answer else None,
    )


def found_in(golden: Golden, boxes: npt.ArrayLike, scores: npt.ArrayLike, labels: npt.ArrayLike) -> list[int]:
    """For each detection (xyxy in the picture) the answer that it is; fails unless each answer is found, once."""
    distance = np.abs(np.asarray(boxes, np.float64).reshape(-1, 1, 4) - golden.boxes[None]).max(2)
    distance[np.asarray(labels)[:, None] != golden.classes[None]] = np.inf
    worst = distance.min(1).max()
    assert worst <= BOX_PX
    order: list[int] = distance.argmin(1).tolist()
    assert sorted(order) == list(range(len(golden.boxes)))
    off = np.abs(np.asarray(scores, np.float64) - golden.scores[order]).max()
    assert off <= SCORE
    print(f"{golden.path.stem}: {len(order)} boxes within {worst:.1e} px, scores within {off:.1e}")  # noqa: T201 (pytest -s)
    return order


def masks_apart(golden: Golden, order: list[int], masks: Iterable[dict[str, Any]]) -> list[int]:
    """By how many pixels each mask (COCO RLE) differs from that of its answer."""
    assert golden.masks is not None
    apart = [int((pixels(rle) != pixels(golden.masks[answer])).sum()) for rle, answer in zip(masks, order, strict=True)]
    print(f"{golden.path.stem}: {apart.count(0)} of {len(apart)} masks equal, {sum(apart)} px apart")  # noqa: T201
    return apart


def pixels(rle: dict[str, Any]) -> npt.NDArray[np.uint8]:
    """[h, w] of a COCO RLE, its counts text or bytes."""
    counts = rle["counts"]
    found: npt.NDArray[np.uint8] = coco_mask.decode(
        {**rle, "counts": counts.encode() if isinstance(counts, str) else counts}
    )
    return found


def assert_nearly_all_equal(apart: list[int]) -> None:
    """Of all pictures of a network, at all sizes that there are answers of.

    Boxes and probabilities differ by float32's rounding, as above, so a pixel whose value is one half but for that may
    fall on the other side. How many do is chance, since sums have another order with other instructions and threads: of
    135 masks of the pyramid at 256/427 7 to 10 (AVX-512, AVX2 and neither, with one thread and with two; a pixel each),
    of its 209 at 800/1333 none, where rounding moves a box by less of a pixel of the picture; of C4's 89 none or one.
    """
    assert np.mean(np.array(apart) == 0) >= 0.93
    assert max(apart) <= 3
    assert sum(apart) <= 20


def keypoints_in(golden: Golden, keypoints: npt.ArrayLike, order: list[int]) -> None:
    """Whether keypoints [N, J, 3] of the picture are the answers', which `found_in` gave the order of.

    Where the two best pixels of an enlarged heatmap are equal but for rounding, either may be found: one of these 1394.
    """
    assert golden.keypoints is not None
    points, expected = np.asarray(keypoints, np.float64), golden.keypoints[order]
    distance = np.abs(points[..., :2] - expected[..., :2]).max(2)
    assert (distance > KEYPOINT_PX).sum() <= 1
    off = np.abs(points[..., 2] - expected[..., 2]).max()
    assert off <= SCORE
    worst = distance[distance <= KEYPOINT_PX].max()
    print(f"{golden.path.stem}: {distance.size} keypoints within {worst:.1e} px, scores within {off:.1e}")  # noqa: T201


def options(name: str, **more: Any) -> ImportOptions:
    """How a user imports it: with the config beside the weights, and class names; mmdetection's file has both."""
    if name.startswith("mmdetection/"):
        return ImportOptions(**more)
    return ImportOptions(config=FOLDER / name / "config.yaml", classes=classes(name), **more)


@functools.cache
def shapes(network: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a full-size network, e.g. `detectron2_mask_rcnn_R_50_FPN_3x`."""
    content = json.loads((FOLDER / "keys" / f"{network.replace('_', '/', 1)}.json").read_text(encoding="utf-8"))
    return {name: tuple(shape) for name, shape in content["tensors"].items()}


def weights(network: str) -> dict[str, Tensor]:
    """Tensors of these names and shapes that take no memory."""
    return {name: torch.zeros(()).expand(shape) for name, shape in shapes(network).items()}
