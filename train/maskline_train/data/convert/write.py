"""The COCO-format data set: splits, pictures, annotations, whole or not at all."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskline_coco.annotation_file import MAX_CATEGORIES, name_inside

from maskline_train.data.convert.files import tracked
from maskline_train.data.convert.labelled import Labelled, Picture, annotation, check_number
from maskline_train.data.errors import DataError
from maskline_train.files import whole_folder


def write(labelled: Labelled, out: Path, val_share: float, seed: int) -> dict[str, Counter[str]]:
    """Write `annotations/instances_<split>.json` and the pictures, copied, in `<split>/`.

    Args:
        labelled: what to write; class k of it gets the category id k + 1.
        out: a folder that does not exist yet.
        val_share: of the pictures, where the format says nothing of splits.
        seed: another one chooses other pictures for val.

    Returns:
        For each split the number of pictures, under "", and of objects a class.

    Raises:
        DataError: `out` exists, or what a COCO file cannot hold; nothing is written.
    """
    if not 0 < len(labelled.classes) <= MAX_CATEGORIES:
        raise DataError(f"{out}: got {len(labelled.classes)} classes, expected 1 to {MAX_CATEGORIES}; is it labelled?")
    _check_names(labelled.pictures)
    pictures = in_splits(labelled.pictures, val_share, seed)
    with whole_folder(out, DataError) as scratch:
        (scratch / "annotations").mkdir()
        return {split: _write_split(scratch, split, found, labelled.classes) for split, found in pictures.items()}


def in_splits(pictures: Sequence[Picture], val_share: float, seed: int) -> dict[str, list[Picture]]:
    """The pictures of each split: the format's, or a share of all, or of the only split `train`, drawn for val.

    Raises:
        DataError: too few to divide.
    """
    names = dict.fromkeys(picture.split for picture in pictures)
    judged = set(names) != {"train"} or len(pictures) < 2  # of a train split alone a part is drawn to judge by
    if all(names) and judged:
        return {name: [picture for picture in pictures if picture.split == name] for name in names}
    if len(pictures) < 2:
        raise DataError(f"got {len(pictures)} picture, expected at least 2, one for train and one for val; add some")
    order = sorted(range(len(pictures)), key=lambda index: pictures[index].file_name)
    random.Random(seed).shuffle(order)
    num_val = min(max(1, round(val_share * len(pictures))), len(pictures) - 1)
    if not any(pictures[index].objects for index in order[:num_val]):  # nothing could be scored on them
        shown = next((place for place in range(num_val, len(order)) if pictures[order[place]].objects), None)
        if shown is not None and sum(bool(picture.objects) for picture in pictures) > 1:
            order[0], order[shown] = order[shown], order[0]
    val = set(order[:num_val])
    return {
        "train": [picture for index, picture in enumerate(pictures) if index not in val],
        "val": [picture for index, picture in enumerate(pictures) if index in val],
    }


def _check_names(pictures: Sequence[Picture]) -> None:
    """Refuse a picture that is there twice: drawn splits would learn from what they are judged by."""
    (((split, name), times),) = Counter((entry.split, entry.file_name) for entry in pictures).most_common(1)
    if times > 1:
        place = f" in {split}" if split else ""
        raise DataError(f"{name}: got {times} pictures of that name{place}, expected one; rename or remove one")


def _write_split(scratch: Path, split: str, pictures: list[Picture], classes: tuple[str, ...]) -> Counter[str]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    ids = {name: number for number, name in enumerate(classes, 1)}
    counts: Counter[str] = Counter({"": len(pictures)})
    for picture in tracked(pictures, f"Writing {split}"):
        _copy(picture, scratch / split)
        check_number(len(picture.objects), picture.file_name)
        height, width = picture.size
        images.append({"id": len(images) + 1, "file_name": picture.file_name, "height": height, "width": width})
        for entry in picture.objects:
            keys = {"id": len(annotations) + 1, "image_id": len(images), "category_id": ids[entry.name]}
            annotations.append({**keys, **annotation(entry, picture.size)})
            counts[entry.name] += 1
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    content = {"images": images, "annotations": annotations, "categories": categories}
    path = scratch / "annotations" / f"instances_{split}.json"
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")
    return counts


def _copy(picture: Picture, folder: Path) -> None:
    try:
        name_inside(picture.file_name, "the data set")
    except ValueError as error:
        raise DataError(f"{error}; rename it") from error
    target = folder / picture.file_name
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(picture.source, Path):
        shutil.copyfile(picture.source, target)
    else:
        target.write_bytes(picture.source())
