"""Write a made data set: two splits of pictures and their COCO annotations, whole or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from maskline_command.console import progress

from maskline_train.data.errors import DataError
from maskline_train.data.made.ink import Pixels
from maskline_train.data.made.scenes import mask_annotation, save_jpeg
from maskline_train.files import whole_folder


class Thing(NamedTuple):
    """An object of a picture: its category, its visible pixels, and what else its annotation says."""

    category_id: int
    mask: npt.NDArray[np.bool_]
    more: Mapping[str, Any] = MappingProxyType({})


Draw = Callable[[np.random.Generator], tuple[Pixels, Sequence[Thing]]]


@dataclasses.dataclass(frozen=True)
class MadeSet:
    """What tells one made set from another.

    Attributes:
        title: what is drawn, for the progress bar and the file's description.
        kind: the annotation files are `annotations/KIND_SPLIT.json`.
        categories: as COCO's files have them.
        drawing: of a split, `train` or `val`, what draws a picture of it.
    """

    title: str
    kind: str
    categories: list[dict[str, Any]]
    drawing: Callable[[str], Draw]


@contextlib.contextmanager
def written_set(made: MadeSet, out: Path, seed: int, *, train_images: int, val_images: int) -> Iterator[Path]:
    """Write both splits to a scratch folder, which becomes `out` when the block has ended well.

    Every picture draws from the seed, its split and its number alone: the same arguments give the same bytes.

    Raises:
        DataError: `out` exists, or a count is not positive; nothing is written.
    """
    if min(train_images, val_images) < 1:
        raise DataError(f"images: got {train_images} train and {val_images} val, expected at least 1 of each")
    with whole_folder(out, DataError) as scratch, progress() as bar:
        task = bar.add_task(f"Drawing {made.title.split()[-1]}", total=train_images + val_images)
        (scratch / "annotations").mkdir()
        for split, count in (("train", train_images), ("val", val_images)):
            for _ in _write_split(made, scratch, split, count, seed):
                bar.advance(task)
        yield scratch


def _write_split(made: MadeSet, root: Path, split: str, count: int, seed: int) -> Iterator[int]:
    """Write the images, then the annotations of one split; yields the id of each image."""
    draw = made.drawing(split)
    (root / split).mkdir()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id in range(1, count + 1):
        image, things = draw(np.random.default_rng([seed, int(split == "val"), image_id]))
        name = f"{image_id:06d}.jpg"
        save_jpeg(image, root / split / name)
        images.append({"id": image_id, "file_name": name, "height": image.shape[0], "width": image.shape[1]})
        for thing in things:
            entry = mask_annotation(len(annotations) + 1, image_id, thing.category_id, thing.mask)
            annotations.append({**entry, **thing.more})
        yield image_id
    info = {"description": f"{made.title.capitalize()} on photographs", "seed": seed, "split": split}
    data = {"info": info, "images": images, "annotations": annotations, "categories": made.categories}
    path = root / "annotations" / f"{made.kind}_{split}.json"
    path.write_text(json.dumps(data) + "\n", encoding="utf-8")
