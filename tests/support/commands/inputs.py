"""The inputs that the commands of `command_lines.py` read, each made when a test first needs it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from maskline_export.onnx_stages.to_onnx import export_checkpoint
from maskline_export.precision.quantize import MIN_IMAGES
from maskline_serve.repository.assemble import assemble
from maskline_train.checkpoint import save_model
from PIL import Image
from serve.standin import write_artifact
from support.data.cityscapes_files import STREET, write_cityscapes
from support.data.mask_files import write_masks
from support.data.shapes_data import write_shapes
from support.export.exported import decided_tiny_model
from support.export.kept_traces import kept_traces
from support.models import foreign
from unit.client.triton_double import CLASSES, SIZE


class Inputs:
    """A folder that is filled as tests ask; what they get are copies, which they may spoil."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._make: dict[str, Callable[[Path], object]] = {
            "shapes": lambda path: write_shapes(path, {"train": 4, "val": 2}),
            "cityscapes": lambda path: write_cityscapes(path, {"train": [STREET], "val": [STREET]}),
            "masks": write_masks,
            "photos": write_photo,
            "calibration": write_calibration,
            "photo_set": write_photo_set,
            "checkpoint": write_checkpoint,
            "foreign": lambda path: shutil.copytree(foreign.FOLDER / "detectron2" / "mask_fpn_bgr", path),
            "standin": write_artifact,
            "artifact": lambda path: self._export(path, "ort"),
            "dense": lambda path: self._export(path, "dense"),
            "repository": lambda path: assemble(self.made("standin"), path),
        }

    def made(self, name: str) -> Path:
        """One of the folders, made if it is not there; not to be changed."""
        path = self._folder / name
        if not path.exists():
            self._make[name](path)
        return path

    def copied(self, names: tuple[str, ...], into: Path) -> Path:
        """A folder with a copy of each of these."""
        into.mkdir()
        for name in names:
            shutil.copytree(self.made(name), into / name, symlinks=True)
        return into

    def _export(self, path: Path, bodies: str) -> None:
        with kept_traces():
            export_checkpoint(self.made("checkpoint"), path, bodies, lambda line: None)  # type: ignore[arg-type]


def write_photo(folder: Path) -> Path:
    """A folder with a picture, in which the server of `triton_double` finds five objects."""
    folder.mkdir(parents=True)
    path = folder / "photo.png"
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(path)
    return path


def write_calibration(folder: Path) -> None:
    """As many pictures as int8 asks for."""
    first = write_photo(folder)
    for index in range(1, MIN_IMAGES):
        shutil.copy(first, folder / f"{index}.png")


def write_photo_set(folder: Path) -> None:
    """A data set of that picture."""
    name = write_photo(folder / "val").name
    (folder / "annotations").mkdir()
    content = {
        "images": [{"id": 1, "file_name": name, "height": SIZE[0], "width": SIZE[1]}],
        "annotations": [],
        "categories": [{"id": number, "name": name} for number, name in enumerate(CLASSES, 1)],
    }
    (folder / "annotations" / "instances_val.json").write_text(json.dumps(content))


def write_checkpoint(folder: Path) -> None:
    """The tiny model."""
    folder.mkdir()
    save_model(folder, decided_tiny_model())
