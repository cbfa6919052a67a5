"""Every field of a COCO file, and what a file can say in it: the cells of the table in docs/inputs.md."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

HEIGHT, WIDTH = 20, 30
KIND = "person_keypoints"  # of the annotation files: the one with the most fields
COLUMNS = ("missing", "null", "wrong type", "huge", "negative", "NaN", "key twice", "as another's")

CLASSES = ((1, "cat"), (2, "dog"), (3, "bird"))
NAN = float("nan")
HUGE = 10**400  # no float holds it
LONG = "x" * 100_000

Change = Callable[[dict[str, Any]], None]


def good() -> dict[str, Any]:
    """A file with all the fields, without a mistake: images and classes with keypoints, polygons and both RLEs.

    The third image and the third class are in no annotation, so that their ids can change.
    """
    square = [[4, 5, 10, 5, 10, 11, 4, 11]]
    shared = {"area": 36, "iscrowd": 0, "bbox": [4, 5, 6, 6], "keypoints": [5, 6, 2], "num_keypoints": 1}
    counts = [4 * HEIGHT, 40, HEIGHT * WIDTH - 4 * HEIGHT - 40]
    return {
        "images": [{"id": i, "file_name": f"{i}.png", "height": HEIGHT, "width": WIDTH} for i in (1, 2, 3)],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": square, **shared},
            {"id": 2, "image_id": 2, "category_id": 2, "segmentation": square, **shared},
            {"id": 3, "image_id": 1, "category_id": 1, "segmentation": _rle(counts), **shared},
            {"id": 4, "image_id": 2, "category_id": 2, "segmentation": _rle("`2X1P?"), **shared},
        ],
        "categories": [{"id": i, "name": name, "keypoints": ["nose"]} for i, name in CLASSES],
    }


def _rle(counts: list[int] | str) -> dict[str, Any]:
    return {"size": [HEIGHT, WIDTH], "counts": counts}


class Field:
    """A field of the file, by the path to it; what it says in each column of the table.

    Args:
        name: as the table has it.
        path: of keys and positions.
        wrong: of another type.
        huge: a value, by itself or inside what is there.
        negative: likewise.
        nan: likewise.
        other: the path of another entry whose value it is given.
    """

    def __init__(
        self, name: str, path: tuple[str | int, ...], wrong: Any, huge: Any, negative: Any, nan: Any, other: Any
    ) -> None:
        self.name, self.path, self.other = name, path, other
        self.values = {"null": None, "wrong type": wrong, "huge": huge, "negative": negative, "NaN": nan}

    def text(self, column: str) -> str:
        """The file's text."""
        data = copy.deepcopy(good())
        *way, last = self.path
        entry = _at(data, way)
        if column == "missing":
            del entry[last]
        elif column == "key twice":
            entry[last], twice = "KEY TWICE", json.dumps(entry[last])
            return json.dumps(data).replace('"KEY TWICE"', f'{twice}, "{last}": {twice}')
        elif column == "as another's":
            entry[last] = _at(data, self.other)
        else:
            entry[last] = self.values[column]
        return json.dumps(data)


def _at(data: Any, way: Any) -> Any:
    for step in way:
        data = data[step]
    return data


def _number(name: str, path: tuple[str | int, ...], other: tuple[str | int, ...]) -> Field:
    return Field(name, path, "1", HUGE, -1, NAN, other)


_BOX, _SQUARE, _POINT = [4, 5, 6, 6], [4, 5, 10, 5, 10, 11, 4, 11], [5, 6, 2]
FIELDS = (
    Field("images", ("images",), {}, [HUGE], [-1], [NAN], ("annotations",)),
    _number("images: id", ("images", 2, "id"), ("images", 1, "id")),
    Field("images: file_name", ("images", 2, "file_name"), 1, LONG, -1, NAN, ("images", 1, "file_name")),
    _number("images: height", ("images", 2, "height"), ("images", 2, "width")),
    _number("images: width", ("images", 2, "width"), ("images", 2, "height")),
    Field("annotations", ("annotations",), {}, [HUGE], [-1], [NAN], ("images",)),
    _number("annotations: id", ("annotations", 0, "id"), ("annotations", 1, "id")),
    _number("annotations: image_id", ("annotations", 0, "image_id"), ("annotations", 1, "image_id")),
    _number("annotations: category_id", ("annotations", 0, "category_id"), ("annotations", 1, "category_id")),
    Field(
        "annotations: bbox",
        ("annotations", 0, "bbox"),
        ["4", 5, 6, 6],
        [HUGE, 5, 6, 6],
        [4, 5, -6, 6],
        [NAN, 5, 6, 6],
        ("annotations", 1, "bbox"),
    ),
    Field(
        "annotations: segmentation, polygons",
        ("annotations", 0, "segmentation"),
        [["4", *_SQUARE[1:]]],
        [[1e9, *_SQUARE[1:]]],
        [[-4, *_SQUARE[1:]]],
        [[NAN, *_SQUARE[1:]]],
        ("annotations", 1, "segmentation"),
    ),
    Field(
        "annotations: segmentation.size",
        ("annotations", 2, "segmentation", "size"),
        "20x30",
        [HUGE, WIDTH],
        [-HEIGHT, -WIDTH],
        [NAN, WIDTH],
        ("annotations", 3, "segmentation", "size"),
    ),
    Field(
        "annotations: segmentation.counts, list",
        ("annotations", 2, "segmentation", "counts"),
        ["600"],
        [HUGE],
        [700, -100],
        [NAN],
        ("annotations", 3, "segmentation", "counts"),
    ),
    Field(
        "annotations: segmentation.counts, text",
        ("annotations", 3, "segmentation", "counts"),
        600,
        "o" * 100_000 + "0",
        "O",
        NAN,
        ("annotations", 2, "segmentation", "counts"),
    ),
    _number("annotations: area", ("annotations", 0, "area"), ("annotations", 1, "area")),
    _number("annotations: iscrowd", ("annotations", 0, "iscrowd"), ("annotations", 1, "iscrowd")),
    Field(
        "annotations: keypoints",
        ("annotations", 0, "keypoints"),
        ["5", 6, 2],
        [HUGE, 6, 2],
        [5, 6, -1],
        [NAN, 6, 2],
        ("annotations", 1, "keypoints"),
    ),
    _number("annotations: num_keypoints", ("annotations", 0, "num_keypoints"), ("annotations", 1, "num_keypoints")),
    Field("categories", ("categories",), {}, [HUGE], [-1], [NAN], ("images",)),
    _number("categories: id", ("categories", 2, "id"), ("categories", 1, "id")),
    Field("categories: name", ("categories", 2, "name"), 1, LONG, -1, NAN, ("categories", 1, "name")),
    Field(
        "categories: keypoints",
        ("categories", 2, "keypoints"),
        "nose",
        [LONG],
        [-1],
        [NAN],
        ("categories", 1, "keypoints"),
    ),
)


def write(root: Path, text: str) -> None:
    """A data set of two splits, train and val, whose annotation files hold this text."""
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    for split in ("train", "val"):
        (root / split).mkdir(exist_ok=True)
        for i in (1, 2, 3):
            Image.new("RGB", (WIDTH, HEIGHT)).save(root / split / f"{i}.png")
        (root / "annotations" / f"{KIND}_{split}.json").write_text(text)
