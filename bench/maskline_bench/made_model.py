"""A model with made weights and pictures of several shapes, kept in a folder: what several benchmarks run on.

Letters: G objects of a picture, H W its size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from maskline_export.onnx_stages.to_onnx import export_checkpoint
from maskline_export.precision.to_typed import type_artifact
from maskline_train.files import whole_folder
from numpy.typing import NDArray
from PIL import Image
from torchvision.models.detection import MaskRCNN as TorchvisionMaskRCNN

from maskline_bench.both_models import (
    FULL,
    HALF,
    QUICK,
    Picture,
    Setting,
    make_peer,
    make_pictures,
    peer_options,
    resized,
    write_checkpoint,
)
from maskline_bench.drawn import Drawn
from maskline_bench.peers import decode, jpeg, png, torchvision_network
from maskline_bench.teach import Tell

# What the kept weights were made by: another setting is another folder.
Size = Literal["quick", "half", "full"]
_SETTINGS: dict[Size, Setting] = {"quick": QUICK, "half": HALF, "full": FULL}
_WEIGHTS = "weights.pt"


@dataclasses.dataclass(frozen=True)
class MadeModel:
    """The folder of one setting; each part is made when it is first asked for, whole or not at all.

    Attributes:
        folder: where the parts lie.
        setting: of the network and the pictures.
    """

    folder: Path
    setting: Setting
    tell: Tell

    def peer(self) -> TorchvisionMaskRCNN:
        """Torchvision's model with the made weights."""
        file = self.folder / "peer" / _WEIGHTS
        if not file.is_file():
            peer = make_peer(self.setting, make_pictures(self.setting), self.tell)
            self._write("peer", lambda folder: torch.save(peer.state_dict(), folder / _WEIGHTS))
        model = torchvision_network(**peer_options(self.setting)).eval()
        model.load_state_dict(torch.load(file, weights_only=True))
        return model.requires_grad_(False)

    def checkpoint(self) -> Path:
        """The same network as a checkpoint of ours."""
        return self._part("checkpoint", lambda folder: _checkpoint(self.peer(), self.setting, folder)) / "checkpoint"

    def artifact(self) -> Path:
        """Float32, with the bodies that ONNX Runtime runs fast on a CPU."""
        return self._part("artifact", lambda folder: export_checkpoint(self.checkpoint(), folder / "it")) / "it"

    def half(self) -> Path:
        """Float16, with bodies of fixed size: what a GPU is given."""
        return self._part("half", self._write_half) / "it"

    def pictures(self) -> list[Picture]:
        """Drawn pictures: lying, standing and square in turn."""
        return [_turned(picture, index % 3) for index, picture in enumerate(make_pictures(self.setting))]

    def images(self) -> Path:
        """Their JPEG files in a folder."""
        return self._part("images", self._write_images)

    def _write_half(self, folder: Path) -> None:
        export_checkpoint(self.checkpoint(), folder / "dense", "dense")
        type_artifact(folder / "dense", folder / "it", "fp16", None)

    def _write_images(self, folder: Path) -> None:
        for index, picture in enumerate(self.pictures()):
            (folder / f"{index}.jpg").write_bytes(picture.file)

    def _part(self, name: str, write: Callable[[Path], object]) -> Path:
        if not (self.folder / name).is_dir():
            self._write(name, write)
        return self.folder / name

    def _write(self, name: str, write: Callable[[Path], object]) -> None:
        self.tell(f"making {name} in {self.folder}")
        self.folder.mkdir(parents=True, exist_ok=True)
        with whole_folder(self.folder / name, ValueError) as folder:
            write(folder)


def made_model(root: Path, size: Size, tell: Tell) -> MadeModel:
    """The model of one setting under `root`; nothing is made yet.

    Args:
        root: folder of all settings.
        size: which setting.
        tell: called with a line of progress.
    """
    return MadeModel(root / size, _SETTINGS[size], tell)


def same_pixels(pictures: Sequence[Drawn]) -> list[bytes]:
    """PNG files of the pictures at twice their size, which no side has to resize any more."""
    return [
        png(Image.fromarray(resized(each.picture, (2 * each.picture.shape[0], 2 * each.picture.shape[1]))))
        for each in pictures
    ]


def _checkpoint(peer: TorchvisionMaskRCNN, setting: Setting, folder: Path) -> None:
    write_checkpoint(peer, setting, folder)


def _turned(picture: Picture, shape: int) -> Picture:
    """The picture as it is (0), turned by a quarter (1), or its left square (2), through a JPEG file once more."""
    if shape == 0:
        return picture
    pixels, masks = picture.picture, picture.masks.numpy()
    if shape == 1:
        pixels, masks = np.rot90(pixels), np.rot90(masks, axes=(1, 2))
    else:
        side = min(pixels.shape[:2])
        pixels, masks = pixels[:, :side], masks[:, :, :side]
    kept = masks.any(axis=(1, 2))
    masks = np.ascontiguousarray(masks[kept])
    file = jpeg(np.ascontiguousarray(pixels))
    boxes = torch.from_numpy(np.array([_box(mask) for mask in masks], np.float32).reshape(-1, 4))
    return Picture(decode(file), boxes, picture.labels[torch.from_numpy(kept)], torch.from_numpy(masks), file)


def _box(mask: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Xyxy px of a mask [H, W]."""
    rows, columns = np.nonzero(mask)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
