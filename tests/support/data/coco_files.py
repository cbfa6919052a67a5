"""Small COCO-format data sets for tests."""

import json
from pathlib import Path

from PIL import Image

HEIGHT, WIDTH = 20, 30


def square(x: float, y: float, side: float) -> list[list[float]]:
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


def annotation(key: int, image_id: int = 10, category_id: int = 3, **changes: object) -> dict:
    return {
        "id": key,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [4, 5, 6, 6],
        "area": 36,
        "iscrowd": 0,
        "segmentation": square(4, 5, 6),
        **changes,
    }


def write(root: Path, split: str = "train", **changes: object) -> Path:
    """A small good data set, changed as asked."""
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / split).mkdir(exist_ok=True)
    data = {
        "categories": [{"id": 90, "name": "dog"}, {"id": 3, "name": "cat"}],
        "images": [
            {"id": 20, "file_name": "b.png", "height": HEIGHT, "width": WIDTH},
            {"id": 10, "file_name": "a.png", "height": HEIGHT, "width": WIDTH},
        ],
        "annotations": [annotation(1), annotation(2, category_id=90)],
        **changes,
    }
    for name, colour in (("a.png", 10), ("b.png", 20)):
        Image.new("RGB", (WIDTH, HEIGHT), (colour, 90, 0)).save(root / split / name)
    file = root / "annotations" / f"instances_{split}.json"
    file.write_text(json.dumps(data))
    return file
