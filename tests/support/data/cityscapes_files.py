"""A miniature Cityscapes in its real file formats: rectangles instead of people and cars."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (64, 128)  # (height, width)
LABEL_IDS = {"road": 7, "person": 24, "rider": 25, "car": 26, "bus": 28, "caravan": 29, "bicycle": 33, "out of roi": 3}

# (label, x0, y0, x1, y1), later ones in front. One scene a picture.
STREET = [
    ("road", 0, 0, 128, 64),
    ("out of roi", 0, 60, 128, 64),
    ("car", 4, 8, 40, 28),
    ("car", 30, 12, 60, 36),  # covers part of the first
    ("license plate", 40, 30, 50, 34),  # has no ID of its own: never drawn
    ("cargroup", 64, 4, 100, 16),
    ("person", 70, 24, 80, 52),
    ("rider", 90, 22, 104, 44),
    ("bicycle", 88, 40, 108, 56),  # covers the rider's feet
    ("caravan", 110, 4, 126, 20),
    ("bus", 112, 30, 126, 36),
]


def write_cityscapes(root: Path, splits: dict[str, list[list[tuple]]], with_ids: bool = True) -> Path:
    """Write splits of such scenes; without ID maps only the polygons are there."""
    for split, scenes in splits.items():
        for number, scene in enumerate(scenes):
            city = ("aachen", "zurich")[number % 2]
            stem = f"{city}_{number:06d}_000019"
            images, annotations = root / "leftImg8bit" / split / city, root / "gtFine" / split / city
            for folder in (images, annotations):
                folder.mkdir(parents=True, exist_ok=True)
            ids, pixels = id_map(scene)
            Image.fromarray(pixels).save(images / f"{stem}_leftImg8bit.png")
            if with_ids:
                Image.fromarray(ids.astype(np.uint16)).save(annotations / f"{stem}_gtFine_instanceIds.png")
            content = {"imgHeight": SIZE[0], "imgWidth": SIZE[1], "objects": [polygon(*entry) for entry in scene]}
            (annotations / f"{stem}_gtFine_polygons.json").write_text(json.dumps(content))
    return root


def polygon(label: str, x0: int, y0: int, x1: int, y1: int) -> dict:
    """An entry of polygons.json; Cityscapes' drawing fills its outline too."""
    corners = [[x0, y0], [x1 - 1, y0], [x1 - 1, y1 - 1], [x0, y1 - 1]]
    return {"label": label, "polygon": corners, "id": 0, "deleted": 0, "draw": True, "user": "x", "verified": 0}


def id_map(scene: list[tuple]) -> tuple[np.ndarray, np.ndarray]:
    """The IDs [H, W] of a scene, and a picture of it [H, W, 3]."""
    ids, pixels, numbers = np.zeros(SIZE, np.int32), np.full((*SIZE, 3), 90, np.uint8), {}
    for label, x0, y0, x1, y1 in scene:
        name = label.removesuffix("group")
        if name == "license plate":
            continue
        value = LABEL_IDS[name]
        if value >= 24 and name == label:
            value = 1000 * value + numbers.get(name, 0)
            numbers[name] = numbers.get(name, 0) + 1
        ids[y0:y1, x0:x1] = value
        pixels[y0:y1, x0:x1] = (value * 7 % 256, value * 13 % 256, value * 29 % 256)
    return ids, pixels
