"""`golden.json`: what the source found in the pictures beside it, written on a machine that has the framework.

`{"images": {NAME: {"image": FILE, "boxes": [[x0, y0, x1, y1]], "scores": [], "classes": [], "masks": [RLE],
"keypoints": [[[x, y, score]]]}}}`, boxes and continuous keypoints in px of the picture, classes from 0 on; `masks` and
`keypoints` of networks that have them. What else an entry holds is not read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from maskline_train.convert.check.answers import Answer

FILE = "golden.json"
_WANTED = "make it by the script that `maskline-train import --golden-script FRAMEWORK` prints"


def read_golden(folder: Path) -> list[tuple[Path, Answer]]:
    """The picture files of a folder's `golden.json`, and what was found in each.

    Raises:
        OSError: it cannot be read, or a picture is missing.
        ValueError: damaged, or of another form; the text names the entry.
    """
    path = folder / FILE
    try:
        images = json.loads(path.read_text(encoding="utf-8"))["images"]
        entries = [(folder / entry["image"], entry) for entry in images.values()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: no answers of images ({type(error).__name__}: {error}); {_WANTED}") from error
    if not entries:
        raise ValueError(f"{path}: holds no image; {_WANTED}")
    for picture, _ in entries:
        if not picture.is_file():
            raise FileNotFoundError(f"{picture}: no such file, expected the picture that {path} names")
    return [(picture, _answer(path, entry)) for picture, entry in entries]


def _answer(path: Path, entry: dict[str, Any]) -> Answer:
    try:
        boxes = np.array(entry["boxes"], np.float32).reshape(-1, 4)
        count = len(boxes)
        masks = [_rle(mask) for mask in entry["masks"]] if "masks" in entry else None
        keypoints = None
        if "keypoints" in entry:
            keypoints = np.array(entry["keypoints"], np.float32).reshape(count, -1, 3)[..., :2] if count else None
        answer = Answer(
            boxes,
            np.array(entry["scores"], np.float32).reshape(count),
            np.array(entry["classes"], np.int64).reshape(count),
            masks,
            keypoints,
        )
        if masks is not None and len(masks) != count:
            raise ValueError(f"{len(masks)} masks of {count} boxes")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        name = str(entry.get("image"))
        raise ValueError(
            f"{path}: the answer to {name!r} is none ({type(error).__name__}: {error}); {_WANTED}"
        ) from error
    return answer


def _rle(mask: dict[str, Any]) -> dict[str, Any]:
    height, width = mask["size"]
    return {"size": [int(height), int(width)], "counts": mask["counts"].encode("ascii")}
