"""COCO annotation files: edited entries and edited bytes; what is taken can be turned into pixels within its image."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from atheris import FuzzedDataProvider
from fuzz.edits import json_file
from fuzz.oracle import judged
from maskline_client import rle
from maskline_coco.annotation_file import read_instances
from maskline_coco.errors import DataError
from maskline_coco.segmentation import rasterise

_SMALL_PX = 1 << 20
_RUNS = [100, 10, 1, 5, 3340]
_TEXT = rle.encode_counts(_RUNS).decode()
GOOD = {
    "images": [
        {"id": 3, "file_name": "a.jpg", "height": 48, "width": 72},
        {"id": 1, "file_name": "b.png", "height": 480, "width": 640},
    ],
    "categories": [
        {"id": 7, "name": "cat", "keypoints": ["nose", "left ear", "right ear"], "skeleton": [[1, 2]]},
        {"id": 2, "name": "dog"},
    ],
    "annotations": [
        {
            "id": 1,
            "image_id": 3,
            "category_id": 7,
            "bbox": [1, 2.5, 30, 20],
            "area": 600,
            "iscrowd": 0,
            "segmentation": [[1, 2, 31, 2, 31, 22.5, 1, 22], [40, 40, 50, 40, 45, 47]],
            "keypoints": [3, 4, 2, 0, 0, 0, 12.5, 9, 1],
            "num_keypoints": 2,
        },
        {
            "id": 2,
            "image_id": 3,
            "category_id": 2,
            "bbox": [0, 0, 72, 48],
            "iscrowd": 1,
            "segmentation": {"size": [48, 72], "counts": _RUNS},
        },
        {
            "id": 5,
            "image_id": 3,
            "category_id": 2,
            "bbox": [0, 0, 9, 9],
            "segmentation": {"size": [48, 72], "counts": _TEXT},
        },
        {"id": 9, "image_id": 1, "category_id": 2, "bbox": [10, 10, 5, 5], "segmentation": [], "area": None},
    ],
}


def prepare(place: Path) -> Callable[[bytes], None]:
    """The target; its file lies in `place`."""
    path = place / "instances.json"

    def run(data: bytes) -> None:
        path.write_bytes(json_file(GOOD, FuzzedDataProvider(data)))
        with judged(DataError):
            _, _, records = read_instances(path)
            for record in records:
                if record.height * record.width > _SMALL_PX:
                    continue
                for annotation in record.annotations:
                    mask = rasterise(annotation.segmentation, record.height, record.width)
                    assert mask.shape == (record.height, record.width)
                    assert mask.max(initial=0) <= 1
                    assert 0 <= annotation.area_px <= mask.size

    path.write_text(json.dumps(GOOD))
    assert len(read_instances(path)[2]) == len(GOOD["images"]), "the file that is edited has to be good"
    return run
