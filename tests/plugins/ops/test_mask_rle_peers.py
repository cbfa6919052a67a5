"""The paste rule `detectron` against torchvision's own function, by every implementation: the same pixels.

torchvision interpolates in float32, we in float64, so a pixel whose value lies within float32's error of one half may
differ. Where u is 2^-24: a position is a scale (rounded by u) times a pixel (u) less 0.5 (u), of at most M + 2 cells,
so each axis errs by 3 (M + 2) u cells, and no value changes by more than 1 a cell; a weight and the product and the sum
that it goes into are rounded by u each, on both axes, and so is the other weight: 8 u.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import device
import numpy as np
import numpy.typing as npt
import pytest
import torch
from mask_rle_runner import info_of, run
from maskline_host.mask_rle import PASTE_RULES, encode
from maskline_train.evaluation.paste import paste_mask
from pycocotools import mask as coco_mask
from support.serving import model_files
from torchvision.models.detection.roi_heads import expand_boxes, paste_masks_in_image

rle = model_files.load("models/postprocess/1/rle.py")

Pixels = npt.NDArray[np.bool_]
SIZES = [(48, 64), (64, 33), (120, 90), (9, 200)]  # landscape, portrait


def make_boxes(size: tuple[int, int], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """[N, 4] of all sizes, tiny, without a side, with whole and half corners, beyond the image; all touch it."""
    height, width = size
    whole = np.array([width, height])
    sides = whole * 10.0 ** rng.uniform(-2.5, 0.0, (40, 2))
    low = rng.uniform(0, 1, (40, 2)) * (whole - sides)
    inside = np.concatenate([low, low + sides], axis=1)
    rounded = [np.round(inside[:10]), np.round(2 * inside[10:20]) / 2]
    beyond = np.array([[-3.3, -2.7, width / 2, height + 4.1], [-0.4, -0.6, width + 0.2, height - 0.5]])
    thin = np.array([[3, 2, 3, 7.5], [2.25, 4, 6.5, 4], [5, 5, 5, 5]])
    every = np.array([[0, 0, width, height]])
    return np.concatenate([inside[20:], *rounded, beyond, thin, every]).astype(np.float32)


def make_masks(count: int, side: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """[N, M, M] blobs with soft edges, noise, and masks of 0, 0.5 and 1."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    blob = 1 / (1 + np.exp(8 * (np.hypot(y, x) - 0.8) + rng.normal(0, 0.5, (count, side, side))))
    noise, halves = rng.random((count, side, side)), rng.integers(0, 3, (count, side, side)) / 2
    kinds = np.stack([blob, blob, noise, halves])
    return kinds[np.arange(count) % 4, np.arange(count)].astype(np.float32)


def decoded(text: bytes, size: tuple[int, int]) -> Pixels:
    found: Pixels = coco_mask.decode({"size": list(size), "counts": text}).astype(bool)
    return found


def by_host(where: str) -> Callable[..., list[Pixels]]:
    def paste(masks: Any, boxes: Any, size: tuple[int, int]) -> list[Pixels]:
        with device.host(where):
            texts = encode(masks, boxes, size, paste="detectron")
        return [decoded(text, size) for text in texts]

    return paste


def by_op(where: str) -> Callable[..., list[Pixels]]:
    def paste(masks: Any, boxes: Any, size: tuple[int, int]) -> list[Pixels]:
        number = len(masks)
        found = run(where, masks[None], boxes[None], [[number]], [info_of(size)], 4096, paste="detectron")
        rles = [
            {"size": list(size), "counts": found.counts[0, d, : found.num_counts[0, d]].tolist()} for d in range(number)
        ]
        return [coco_mask.decode(coco_mask.frPyObjects(one, *size)).astype(bool) for one in rles]

    return paste


WAYS: dict[str, Callable[..., list[Pixels]]] = {
    "evaluation": lambda *given: [paste_mask(*pair, given[2], "detectron") for pair in zip(*given[:2], strict=True)],
    "numpy": lambda *given: [
        decoded(rle.encode_mask(*pair, given[2], "detectron"), given[2]) for pair in zip(*given[:2], strict=True)
    ],
    **{where: by_host(where) for where in device.HOSTS},
    **{where: by_op(where) for where in ("simt", "ort-cpu")},
}


def values(
    mask: npt.NDArray[np.float32], box: npt.NDArray[np.float32], size: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """torchvision's interpolation in float64, [H, W]; 0 beyond the box."""
    side = len(mask)
    x0, y0, x1, y1 = expand_boxes(torch.from_numpy(box[None]), (side + 2) / side)[0].long().tolist()
    padded = torch.nn.functional.pad(torch.from_numpy(mask).double(), (1, 1, 1, 1))[None, None]
    wide = torch.nn.functional.interpolate(padded, (y1 - y0 + 1, x1 - x0 + 1), mode="bilinear")[0, 0]
    out = torch.zeros(size, dtype=torch.float64)
    rows, columns = slice(max(y0, 0), min(y1 + 1, size[0])), slice(max(x0, 0), min(x1 + 1, size[1]))
    out[rows, columns] = wide[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0]
    return out.numpy()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side", [14, 28])
@pytest.mark.parametrize("way", WAYS)
def test_pixels_are_torchvisions(way: str, side: int, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(side * size[0] + size[1])
    boxes = make_boxes(size, rng)
    if way in ("simt", "ort-cpu"):  # the op clips boxes to the image, as torchvision's model does before it pastes
        boxes = np.clip(boxes, 0, [size[1], size[0]] * 2).astype(np.float32)
    masks = make_masks(len(boxes), side, rng)
    theirs = paste_masks_in_image(torch.from_numpy(masks)[:, None], torch.from_numpy(boxes), size)[:, 0].numpy() > 0.5
    bound = (2 * 3 * (side + 2) + 8) * 2.0**-24
    for mask, box, ours, wanted in zip(masks, boxes, WAYS[way](masks, boxes, size), theirs, strict=True):
        differ = ours != wanted
        assert (np.abs(values(mask, box, size)[differ] - 0.5) <= bound).all(), box
    assert theirs.any(axis=(1, 2)).mean() > 0.5  # there is something to compare


def test_the_rules_are_not_the_same() -> None:
    rng = np.random.default_rng(0)
    boxes = make_boxes((48, 64), rng)
    masks = make_masks(len(boxes), 28, rng)
    both = [[paste_mask(*pair, (48, 64), rule) for pair in zip(masks, boxes, strict=True)] for rule in PASTE_RULES]
    assert np.mean([(a != b).any() for a, b in zip(*both, strict=True)]) > 0.5
