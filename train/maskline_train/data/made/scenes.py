"""What the data sets that any machine can make share: photographs, painting, annotations.

The photographs are those that scikit-image and scikit-learn install, split so that a validation image shows none that
training saw.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import skimage
import sklearn.datasets
from PIL import Image
from pycocotools import mask as coco_mask

from maskline_train.data.errors import DataError
from maskline_train.data.images import FORMATS
from maskline_train.data.made.ink import Glyph, Pixels
from maskline_train.files import save_image

TRAIN_PHOTOGRAPHS = (
    *("astronaut.png", "brick.png", "camera.png", "coins.png", "grass.png", "gravel.png", "hubble_deep_field.jpg"),
    *("ihc.png", "moon.png", "motorcycle_left.png", "retina.jpg", "china.jpg"),
)
VAL_PHOTOGRAPHS = ("chelsea.png", "coffee.png", "rocket.jpg", "flower.jpg")

LONGER_SIDE_PX = 256
SHORTER_SIDE_PX = (176, 256)  # lowest and highest; half of the pictures stand upright


def read_photograph(name: str) -> Pixels:
    """An image file that scikit-image or scikit-learn installed, as RGB."""
    folders = (Path(skimage.__file__).parent / "data", Path(sklearn.datasets.__file__).parent / "images")
    for folder in folders:
        if (folder / name).is_file():
            with Image.open(folder / name, formats=FORMATS) as image:
                return np.asarray(image.convert("RGB"))
    raise DataError(f"{name}: not among the images that scikit-image and scikit-learn install; reinstall them")


def draw_image_size(rng: np.random.Generator) -> tuple[int, int]:
    """A random (height, width)."""
    shorter = int(rng.integers(SHORTER_SIDE_PX[0], SHORTER_SIDE_PX[1] + 1))
    return (LONGER_SIDE_PX, shorter) if rng.random() < 0.5 else (shorter, LONGER_SIDE_PX)


def crop_photograph(photograph: Pixels, size: tuple[int, int], rng: np.random.Generator) -> Pixels:
    """A random part of the photograph, between its whole and its half, scaled to (height, width)."""
    height, width = photograph.shape[:2]
    share = min(height / size[0], width / size[1]) * float(rng.uniform(0.5, 1.0))
    rows, columns = int(size[0] * share), int(size[1] * share)
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    part = Image.fromarray(photograph[top : top + rows, left : left + columns])
    return np.array(part.resize((size[1], size[0]), Image.Resampling.BILINEAR))


def paint(where: Pixels, glyph: Glyph, colour: npt.NDArray[np.float32], opacity: float) -> None:
    """Lay a glyph in one colour over the pixels [H, W, 3] under it, in place."""
    alpha = glyph.alpha[..., None] * np.float32(opacity)
    where[...] = np.round(where * (1 - alpha) + colour * alpha).astype(np.uint8)


def mask_annotation(number: int, image_id: int, category_id: int, mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """One COCO annotation with the tight box of its visible pixels."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
        "area": int(mask.sum()),
        "iscrowd": 0,
        "segmentation": {"size": list(mask.shape), "counts": rle["counts"].decode("ascii")},
    }


def save_jpeg(image: Pixels, path: Path) -> None:
    """JPEG with fixed settings, so that the same picture gives the same bytes."""
    save_image(path, Image.fromarray(image), "JPEG", quality=95, subsampling=0)
