"""A COCO-format data set of real pixels that any machine can make: handwritten digits on photographs.

The digits are scikit-learn's 8 x 8 scans (1797 of them, ten classes), the photographs those that scikit-image and
scikit-learn ship. Both are split: a validation image holds only scans and photographs that no training image shows.
Later digits cover earlier ones; masks are modal, that is the visible pixels.

Ref: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import sklearn.datasets

from maskline_train.data.made.ink import Glyph, Pixels, draw_glyph, ink_colour
from maskline_train.data.made.scenes import (
    TRAIN_PHOTOGRAPHS,
    VAL_PHOTOGRAPHS,
    crop_photograph,
    draw_image_size,
    paint,
    read_photograph,
    save_jpeg,
)
from maskline_train.data.made.write_set import Draw, MadeSet, Thing, written_set

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

# Neighbouring scans come from one writer, so a cut in the order keeps most writers on one side too.
NUM_TRAIN_SCANS = 1400

MAX_DIGITS = 8
EMPTY_SHARE = 0.03  # images without a digit: a detector must learn to find nothing
MIN_AREA_PX = 40
SCENE_SIZE = (480, 640)  # (height, width)
SCENE_PHOTOGRAPHS = ("chelsea.png", "coffee.png", "rocket.jpg")  # of validation, and free of any rights
PLACEMENT_TRIES = 12


@dataclasses.dataclass(frozen=True)
class _Source:
    """What the images of one split are made of."""

    scans: npt.NDArray[np.float32]  # [S, 8, 8] in 0..1
    labels: npt.NDArray[np.int64]  # [S]
    photographs: list[Pixels]


@dataclasses.dataclass(frozen=True)
class _Style:
    """How digits are drawn."""

    glyph_px: tuple[int, int] = (28, 104)  # side of a scan's 8 x 8 cells, drawn log-uniformly
    min_visible: float = 0.6  # of a digit's pixels; a person could not tell what is left of less
    min_value: float = 0.0  # of the ink's colour (the V of HSV)


@dataclasses.dataclass
class _Scene:
    """An image while it is drawn, and the visible pixels of each of its digits."""

    image: Pixels
    labels: list[int]
    masks: list[npt.NDArray[np.bool_]]
    wholes: list[int]  # pixels of each digit before others covered it


def make_digits(out: Path, *, seed: int = 0, train_images: int = 2000, val_images: int = 200, scale: int = 1) -> None:
    """Write the data set: `annotations/instances_{train,val}.json`, `train/`, `val/`, and `scenes/` to look at.

    The same arguments give the same bytes. `scenes/` holds a few larger pictures of the validation sources, without
    annotations.

    Args:
        out: a folder that does not exist yet.
        seed: decides everything that is drawn.
        train_images: images of the training split.
        val_images: images of the validation split.
        scale: pictures have a longer side of 256 px times this, and their digits are as much larger.

    Raises:
        DataError: `out` exists, or a count is not positive; nothing is written.
    """
    made = dataclasses.replace(DIGITS, drawing=functools.partial(_drawing, scale=scale))
    with written_set(made, out, seed, train_images=train_images, val_images=val_images) as scratch:
        _write_scenes(scratch / "scenes", seed)


def _drawing(split: str, scale: int = 1) -> Draw:
    """What draws a picture of the split."""
    source, style = _source(split), _Style()
    style = dataclasses.replace(style, glyph_px=(scale * style.glyph_px[0], scale * style.glyph_px[1]))

    def draw(rng: np.random.Generator) -> tuple[Pixels, list[Thing]]:
        height, width = draw_image_size(rng)
        scene = _draw(source, rng, (scale * height, scale * width), _num_digits(rng), style)
        return scene.image, [Thing(label + 1, mask) for label, mask in zip(scene.labels, scene.masks, strict=True)]

    return draw


_CATEGORIES = [{"id": k + 1, "name": name, "supercategory": "digit"} for k, name in enumerate(CLASSES)]
DIGITS = MadeSet("handwritten digits", "instances", _CATEGORIES, _drawing)


def _write_scenes(folder: Path, seed: int) -> None:
    """Larger pictures of the validation sources to look at, one on each photograph, their digits hardly covered."""
    folder.mkdir()
    source = _source("val")
    style = _Style(glyph_px=(100, 220), min_visible=0.95, min_value=0.45)
    for index, name in enumerate(SCENE_PHOTOGRAPHS):
        rng = np.random.default_rng([seed, 2, index])
        one = dataclasses.replace(source, photographs=[read_photograph(name)])
        scene = _draw(one, rng, SCENE_SIZE, int(rng.integers(8, 12)), style)
        save_jpeg(scene.image, folder / f"{Path(name).stem}.jpg")


def _source(split: str) -> _Source:
    digits = sklearn.datasets.load_digits()
    part = slice(0, NUM_TRAIN_SCANS) if split == "train" else slice(NUM_TRAIN_SCANS, None)
    names = TRAIN_PHOTOGRAPHS if split == "train" else VAL_PHOTOGRAPHS
    scans = (digits.images[part] / 16.0).astype(np.float32)
    return _Source(scans, digits.target[part].astype(np.int64), [read_photograph(name) for name in names])


def _num_digits(rng: np.random.Generator) -> int:
    count = int(rng.integers(1, MAX_DIGITS + 1))
    return 0 if rng.random() < EMPTY_SHARE else count


def _draw(source: _Source, rng: np.random.Generator, size: tuple[int, int], count: int, style: _Style) -> _Scene:
    """A crop of a photograph with up to `count` digits on it; one that finds no place is left out."""
    photograph = source.photographs[int(rng.integers(len(source.photographs)))]
    scene = _Scene(crop_photograph(photograph, size, rng), [], [], [])
    for _ in range(count):
        scan = int(rng.integers(len(source.scans)))
        low, high = np.log(style.glyph_px[0]), np.log(style.glyph_px[1])
        side = round(float(np.exp(rng.uniform(low, high))))
        glyph = draw_glyph(source.scans[scan], side, float(rng.uniform(-18, 18)))
        _place(scene, glyph, int(source.labels[scan]), style, rng)
    return scene


def _place(scene: _Scene, glyph: Glyph, label: int, style: _Style, rng: np.random.Generator) -> None:
    """Put a digit where it leaves enough of every other one visible; not at all when no try finds such a place."""
    height, width = scene.image.shape[:2]
    rows, columns = glyph.alpha.shape
    if rows > height or columns > width or glyph.mask.sum() < MIN_AREA_PX:
        return
    for _ in range(PLACEMENT_TRIES):
        top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
        covered = np.zeros((height, width), bool)
        covered[top : top + rows, left : left + columns] = glyph.mask
        if _all_visible(scene, covered, style.min_visible):
            break
    else:
        return
    where = scene.image[top : top + rows, left : left + columns]
    colour = ink_colour(where, glyph, style.min_value, rng)
    paint(where, glyph, colour, float(rng.uniform(0.85, 1.0)))
    for i, mask in enumerate(scene.masks):
        scene.masks[i] = mask & ~covered
    scene.labels.append(label)
    scene.masks.append(covered)
    scene.wholes.append(int(covered.sum()))


def _all_visible(scene: _Scene, covered: npt.NDArray[np.bool_], share: float) -> bool:
    """True when every digit keeps its visible share with these pixels covered."""
    return all((mask & ~covered).sum() >= share * whole for mask, whole in zip(scene.masks, scene.wholes, strict=True))
