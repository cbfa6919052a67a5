"""Images to verify on when the user names none: photographs that scikit-image ships, at a ladder of sizes.

Exporters have failed silently at some sizes only (small, non-square), so the ladder has both orientations, squares and
a size beyond the network's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from maskline_train.data.images import decode_image
from PIL import Image
from skimage import data as photographs

Pixels = npt.NDArray[np.uint8]

# (height, width): shares of the shorter side the network expects, so that a slim model is not fed huge images
LADDER = ((1.0, 1.0), (0.64, 0.64), (0.6, 0.8), (0.8, 0.6), (1.0, 1.6), (1.6, 1.0), (2.0, 1.5))


def ladder_images(shorter_side_px: int) -> Iterator[tuple[str, Pixels]]:
    """Name and pixels [H, W, 3] of each image of the ladder."""
    sources = [photographs.astronaut(), photographs.coffee(), photographs.chelsea(), photographs.rocket()]
    for i, (rows, columns) in enumerate(LADDER):
        size = (round(columns * shorter_side_px), round(rows * shorter_side_px))
        picture = Image.fromarray(sources[i % len(sources)]).resize(size, Image.Resampling.BILINEAR)
        yield f"{size[1]}x{size[0]}", np.asarray(picture)


def named_images(paths: Sequence[Path]) -> Iterator[tuple[Path, Pixels]]:
    """Path and pixels of each image file; folders are searched for JPEG, PNG and WebP files.

    Raises:
        FileNotFoundError: a path does not exist, or a folder holds no image.
        maskline_train.data.errors.ImageError: a file that is no image.
    """
    for path in paths:
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES) if path.is_dir() else [path]
        if not files:
            raise FileNotFoundError(f"{path}: no image in this folder, expected files ending in {IMAGE_SUFFIXES}")
        for file in files:
            yield file, decode_image(file)


IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp")
