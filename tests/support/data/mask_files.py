"""Pictures with maps of IDs: two boxes that touch and a disc, numbered with gaps and beyond a byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

HEIGHT, WIDTH = 40, 60
IDS = (7, 300, 65535)


def id_map() -> npt.NDArray[np.uint16]:
    """[H, W] uint16."""
    ids = np.zeros((HEIGHT, WIDTH), np.uint16)
    ids[4:20, 5:20], ids[4:20, 20:33] = IDS[:2]
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    ids[(rows - 28) ** 2 + (columns - 45) ** 2 < 64] = IDS[2]
    return ids


def write_picture(path: Path, seed: int = 0) -> Path:
    """A picture of noise of that size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_masks(root: Path, names: tuple[str, ...] = ("a", "b", "c")) -> Path:
    """`images/` and `masks/`, all with the same map."""
    (root / "masks").mkdir(parents=True)
    for seed, name in enumerate(names):
        write_picture(root / "images" / f"{name}.png", seed)
        Image.fromarray(id_map()).save(root / "masks" / f"{name}.png")
    return root
