"""A COCO-format data set of coloured rectangles with named corners that a test writes in milliseconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("circle", "square", "star")  # names only: all are rectangles, told apart by colour
COLOURS = ((220, 40, 40), (40, 220, 40), (40, 40, 220))
SIZE = (96, 128)  # (height, width)
CORNERS = ("top left", "top right", "bottom right", "bottom left")  # keypoints
FLIP_PAIRS = (("top left", "top right"), ("bottom left", "bottom right"))


def write_shapes(
    root: Path,
    splits: dict[str, int],
    seed: int = 0,
    most: int = 3,
    sides_px: tuple[int, int] = (16, 48),
    all_corners: bool = False,
) -> Path:
    """Write splits of so many images, each with one rectangle to `most`, which may cover each other.

    The sides are at least the first of `sides_px` and below the second. Of each, one to four corners are labelled, or
    all.
    """
    rng = np.random.default_rng(seed)
    (root / "annotations").mkdir(parents=True)
    for split, count in splits.items():
        (root / split).mkdir()
        images, annotations = [], []
        for image_id in range(1, count + 1):
            pixels = rng.integers(90, 160, (*SIZE, 3), dtype=np.uint8)
            for _ in range(int(rng.integers(1, most + 1))):
                label = int(rng.integers(len(CLASSES)))
                height, width = (int(side) for side in rng.integers(*sides_px, 2))
                y, x = int(rng.integers(SIZE[0] - height)), int(rng.integers(SIZE[1] - width))
                pixels[y : y + height, x : x + width] = COLOURS[label]
                corners = [x, y, x + width, y, x + width, y + height, x, y + height]
                points = [(corners[i] - 0.5, corners[i + 1] - 0.5, 2) for i in range(0, 8, 2)]  # pixel indices
                points = points[: 4 if all_corners else 1 + len(annotations) % 4] + [(0, 0, 0)] * 3
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_id,
                        "category_id": label + 1,
                        "bbox": [x, y, width, height],
                        "area": width * height,
                        "iscrowd": 0,
                        "segmentation": [corners],
                        "keypoints": [value for point in points[:4] for value in point],
                    }
                )
            name = f"{image_id:04d}.png"
            Image.fromarray(pixels).save(root / split / name)
            images.append({"id": image_id, "file_name": name, "height": SIZE[0], "width": SIZE[1]})
        categories = [{"id": i + 1, "name": name, "keypoints": CORNERS} for i, name in enumerate(CLASSES)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return root
