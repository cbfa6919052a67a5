"""`data convert` run in this process, and the masks of what it wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from maskline_train.cli import main
from maskline_train.data.coco import CocoDataset
from support.processes.in_process import call


def convert(kind: str, source: Path, out: Path, *options: str) -> int:
    """The exit status."""
    return call(main, "data", "convert", kind, str(source), str(out), *options)


def masks_of(out: Path, split: str) -> Iterator[tuple[str, list[tuple[str, npt.NDArray[np.bool_]]]]]:
    """Of each picture the file's name, and the objects' classes and masks [H, W] in their order."""
    dataset = CocoDataset(out, split)
    dataset.check_images()
    for index, record in enumerate(dataset):
        objects = dataset.objects(index)
        names = [dataset.classes[label] for label in objects.labels]
        yield record.file_name, list(zip(names, [mask.astype(bool) for mask in objects.masks], strict=True))
