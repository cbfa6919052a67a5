"""A data set with keypoints that any machine can make: stick figures on photographs.

A figure faces the viewer, so its left hand is at the right of the picture, whatever its pose; only the side of the body
tells left from right. Seven keypoints in the format of COCO's person_keypoints files: visible ones (2), those that
another figure covers (1), those outside the picture (0). Later figures cover earlier ones; masks are modal.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from maskline_train.data.made.ink import Glyph, Pixels, ink_colour
from maskline_train.data.made.scenes import (
    TRAIN_PHOTOGRAPHS,
    VAL_PHOTOGRAPHS,
    crop_photograph,
    draw_image_size,
    paint,
    read_photograph,
)
from maskline_train.data.made.write_set import Draw, MadeSet, Thing, written_set

CLASS = "figure"
KEYPOINTS = ("head", "neck", "hip", "left hand", "right hand", "left foot", "right foot")
FLIP_PAIRS = (("left hand", "right hand"), ("left foot", "right foot"))
SKELETON = ((0, 1), (1, 2), (1, 3), (1, 4), (2, 5), (2, 6))  # the strokes: pairs of keypoints
SIGMAS = (0.08,) * len(KEYPOINTS)  # OKS; between COCO's elbow (0.072) and ankle (0.089)

MAX_FIGURES = 4
EMPTY_SHARE = 0.03  # images without a figure
FIGURE_PX = (56, 150)  # height of a figure that stands upright, drawn log-uniformly
MAX_TILT_DEGREES = 20.0
MAX_OUTSIDE = 0.2  # share of a figure's box that may lie beyond an edge of the picture
MIN_VISIBLE = 0.6  # of a figure's pixels
MIN_AREA_PX = 150
PLACEMENT_TRIES = 12

# In units of the figure's height, y downwards from the top of the head.
HEAD_Y, HEAD_RADIUS, NECK_Y, HIP_Y = 0.11, 0.11, 0.26, 0.56
ARM, LEG = 0.34, 0.42  # lengths
STROKE, TORSO_STROKE = 0.075, 0.13  # widths
ARM_DEGREES = (15.0, 150.0)  # from hanging down to raised, outwards
LEG_DEGREES = (8.0, 40.0)
SUPERSAMPLING = 4  # drawn so many times larger, for smooth edges


@dataclasses.dataclass(frozen=True)
class Figure:
    """A drawn figure, cut out to its tight box, and where its keypoints are: [J, 2] x, y px from its corner."""

    glyph: Glyph
    points: npt.NDArray[np.float64]


@dataclasses.dataclass
class Scene:
    """An image while it is drawn, with the visible pixels and the keypoints [J, 2] of each of its figures."""

    image: Pixels
    masks: list[npt.NDArray[np.bool_]]
    points: list[npt.NDArray[np.float64]]
    wholes: list[int]  # pixels of each figure inside the picture before others covered it


def make_figures(out: Path, *, seed: int = 0, train_images: int = 1000, val_images: int = 100) -> None:
    """Write the data set: `annotations/person_keypoints_{train,val}.json`, `train/` and `val/`.

    The same arguments give the same bytes.

    Args:
        out: a folder that does not exist yet.
        seed: decides everything that is drawn.
        train_images: images of the training split.
        val_images: images of the validation split.

    Raises:
        DataError: `out` exists, or a count is not positive; nothing is written.
    """
    with written_set(FIGURES, out, seed, train_images=train_images, val_images=val_images):
        pass


def _drawing(split: str) -> Draw:
    """What draws a picture of the split."""
    photographs = [read_photograph(name) for name in (TRAIN_PHOTOGRAPHS if split == "train" else VAL_PHOTOGRAPHS)]

    def draw(rng: np.random.Generator) -> tuple[Pixels, list[Thing]]:
        scene = draw_scene(photographs, rng)
        return scene.image, [_thing(mask, points) for mask, points in zip(scene.masks, scene.points, strict=True)]

    return draw


def _thing(mask: npt.NDArray[np.bool_], points: npt.NDArray[np.float64]) -> Thing:
    """A figure with its keypoints, as the annotation has them."""
    keypoints = _coco_keypoints(mask, points)
    number = sum(visibility > 0 for visibility in keypoints[2::3])
    return Thing(1, mask, {"keypoints": keypoints, "num_keypoints": number})


_CATEGORY = {
    "id": 1,
    "name": CLASS,
    "supercategory": CLASS,
    "keypoints": list(KEYPOINTS),
    "skeleton": [[i + 1, j + 1] for i, j in SKELETON],  # COCO counts them from 1
}
FIGURES = MadeSet("stick figures", "person_keypoints", [_CATEGORY], _drawing)


def draw_scene(photographs: list[Pixels], rng: np.random.Generator) -> Scene:
    """A crop of a photograph with up to MAX_FIGURES figures on it; one that finds no place is left out."""
    size, count = draw_image_size(rng), int(rng.integers(1, MAX_FIGURES + 1))
    count = 0 if rng.random() < EMPTY_SHARE else count
    photograph = photographs[int(rng.integers(len(photographs)))]
    scene = Scene(crop_photograph(photograph, size, rng), [], [], [])
    for _ in range(count):
        low, high = np.log(FIGURE_PX[0]), np.log(FIGURE_PX[1])
        _place(scene, draw_figure(float(np.exp(rng.uniform(low, high))), rng), rng)
    return scene


def draw_figure(height_px: float, rng: np.random.Generator) -> Figure:
    """A figure in a random pose, tilted a little; `height_px` from the top of its head to hanging feet."""
    points = _pose(rng) * height_px
    angle = np.radians(rng.uniform(-MAX_TILT_DEGREES, MAX_TILT_DEGREES))
    points = points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    margin = HEAD_RADIUS * height_px + 2
    points += margin - points.min(axis=0)
    columns, rows = (int(np.ceil(side)) for side in points.max(axis=0) + margin)
    alpha = _rasterise(points, height_px, (rows, columns))
    mask = alpha >= 0.5
    inside = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = inside[0][0], inside[1][0]
    box = slice(top, inside[0][-1] + 1), slice(left, inside[1][-1] + 1)
    return Figure(Glyph(alpha[box], mask[box]), points - np.array([left, top]))


def _pose(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Keypoints [J, 2] of an upright figure of height 1 whose axis is x = 0."""
    points = [(0.0, HEAD_Y), (0.0, NECK_Y), (0.0, HIP_Y)]
    for start, length, degrees in ((NECK_Y, ARM, ARM_DEGREES), (HIP_Y, LEG, LEG_DEGREES)):
        for side in (1.0, -1.0):  # its left is at the viewer's right
            angle = np.radians(rng.uniform(*degrees))
            points.append((side * length * float(np.sin(angle)), start + length * float(np.cos(angle))))
    return np.array(points)


def _rasterise(points: npt.NDArray[np.float64], height_px: float, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """The share [H, W] of each pixel that the figure covers."""
    large = points * SUPERSAMPLING
    picture = Image.new("L", (size[1] * SUPERSAMPLING, size[0] * SUPERSAMPLING))
    draw = ImageDraw.Draw(picture)
    for i, j in SKELETON:
        width = (TORSO_STROKE if (i, j) == (1, 2) else STROKE) * height_px * SUPERSAMPLING
        draw.line([tuple(large[i]), tuple(large[j])], fill=255, width=round(width))
        for x, y in (large[i], large[j]):  # round ends, centred on the keypoints
            draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)
    (x, y), radius = large[0], HEAD_RADIUS * height_px * SUPERSAMPLING
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return np.asarray(picture.reduce(SUPERSAMPLING), np.float32) / np.float32(255)


def _place(scene: Scene, figure: Figure, rng: np.random.Generator) -> None:
    """Put a figure where it leaves enough of every other one visible; not at all when no try finds such a place.

    It may reach a little beyond the picture.
    """
    height, width = scene.image.shape[:2]
    rows, columns = figure.glyph.alpha.shape
    for _ in range(PLACEMENT_TRIES):
        top = int(rng.integers(-round(MAX_OUTSIDE * rows), max(1, height - round((1 - MAX_OUTSIDE) * rows))))
        left = int(rng.integers(-round(MAX_OUTSIDE * columns), max(1, width - round((1 - MAX_OUTSIDE) * columns))))
        part = _cut(figure.glyph, top, left, (height, width))
        covered = np.zeros((height, width), bool)
        y, x = max(0, top), max(0, left)
        where = slice(y, y + part.mask.shape[0]), slice(x, x + part.mask.shape[1])
        covered[where] = part.mask
        if covered.sum() >= MIN_AREA_PX and _all_visible(scene, covered):
            break
    else:
        return
    colour = ink_colour(scene.image[where], part, 0.0, rng)
    paint(scene.image[where], part, colour, float(rng.uniform(0.85, 1.0)))
    scene.masks = [mask & ~covered for mask in scene.masks]
    scene.masks.append(covered)
    scene.points.append(figure.points + np.array([left, top]))
    scene.wholes.append(int(covered.sum()))


def _cut(glyph: Glyph, top: int, left: int, size: tuple[int, int]) -> Glyph:
    """The part of a glyph at (top, left) that lies inside an image of `size`."""
    part = slice(max(0, -top), max(0, size[0] - top)), slice(max(0, -left), max(0, size[1] - left))
    return Glyph(glyph.alpha[part], glyph.mask[part])


def _all_visible(scene: Scene, covered: npt.NDArray[np.bool_]) -> bool:
    """True when every figure keeps its visible share with these pixels covered."""
    pairs = zip(scene.masks, scene.wholes, strict=True)
    return all((mask & ~covered).sum() >= MIN_VISIBLE * whole for mask, whole in pairs)


def _coco_keypoints(mask: npt.NDArray[np.bool_], points: npt.NDArray[np.float64]) -> list[float]:
    """x, y, visibility of each keypoint as COCO has them: pixel indices, the centre of the first pixel 0."""
    found: list[float] = []
    for x, y in points.tolist():
        row, column = int(np.floor(y)), int(np.floor(x))
        if not (0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]):
            found += [0, 0, 0]
        else:
            found += [round(x - 0.5, 2), round(y - 0.5, 2), 2 if mask[row, column] else 1]
    return found
