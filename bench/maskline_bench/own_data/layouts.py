"""Pictures and their maps of objects, laid out as `maskline-train data convert` reads them.

Letters: H W picture. A map [H, W] has 0 for the background and a number of its own for each object.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

Gray = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.uint16]


def write_maps(folder: Path, name: str, gray: Gray, labels: Labels) -> None:
    """By the layout `masks`."""
    _save(folder / "images" / f"{name}.png", gray)
    _save(folder / "masks" / f"{name}.png", labels)


def write_voc(folder: Path, split: str, name: str, gray: Gray, labels: Labels, class_name: str) -> None:
    """By the layout `voc`: a picture of a split, its objects all of one class."""
    _, numbers = np.unique(np.append(labels, 0), return_inverse=True)  # from 0 on, as eight bits hold few
    numbers = numbers[:-1].reshape(labels.shape).astype(np.uint8)
    _save(folder / "JPEGImages" / f"{name}.png", gray)
    _save(folder / "SegmentationObject" / f"{name}.png", numbers)
    _save(folder / "SegmentationClass" / f"{name}.png", (numbers > 0).astype(np.uint8))
    (folder / "labelmap.txt").write_text(f"background:0,0,0::\n{class_name}:128,0,0::\n")
    listed = folder / "ImageSets" / "Segmentation" / f"{split}.txt"
    listed.parent.mkdir(parents=True, exist_ok=True)
    with listed.open("a") as file:
        file.write(f"{name}\n")


def _save(path: Path, values: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
