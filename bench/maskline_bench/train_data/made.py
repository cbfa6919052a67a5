"""A COCO-format folder as COCO's own is: photographs as JPEG, objects as polygons, a crowd as run lengths."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from maskline_bench.peers import NUM_CLASSES, class_names, photographs

OBJECTS = 7  # an image; train2017 has 7.3
SIZE = 480, 640  # (height, width), COCO's most frequent
# Files of about 160 kB: train2017.zip has 18 GB for 118 287 images.
JPEG_QUALITY = 96
CROWD_EVERY = 4  # images
TWO_PARTS_EVERY = 5  # objects: hidden by something in their middle
_SIDES = 0.04, 0.8  # of an object, as shares of the picture's: evenly by logarithm
_CORNERS = 12, 48  # of a polygon


def make_folder(root: Path, images: int, objects: int = OBJECTS) -> Path:
    """Write `annotations/instances_train.json` and `train/`; the same files for the same numbers.

    Args:
        root: the folder, made where it is missing.
        images: how many; five photographs in turn, each mirrored or darkened as its number says.
        objects: polygons an image; the crowd of every fourth comes on top.

    Returns:
        `root`.
    """
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / "train").mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    photos = photographs(*SIZE)
    for number in range(images):
        name = f"{number:06d}.jpg"
        pixels = photos[number % len(photos)] // (1 + number // len(photos) % 2)
        noisy = np.clip(pixels + rng.normal(0, 3, pixels.shape), 0, 255).astype(np.uint8)  # of a sensor
        Image.fromarray(noisy).save(root / "train" / name, "JPEG", quality=JPEG_QUALITY)
        entries.append({"id": number + 1, "file_name": name, "height": SIZE[0], "width": SIZE[1]})
        for annotation in _annotations(rng, number, objects):
            annotations.append({"id": len(annotations) + 1, "image_id": number + 1, **annotation})
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(class_names())]
    content = {"images": entries, "annotations": annotations, "categories": categories}
    (root / "annotations" / "instances_train.json").write_text(json.dumps(content), encoding="utf-8")
    return root


def file_kb(root: Path) -> float:
    """The mean size of the image files."""
    return float(np.mean([path.stat().st_size for path in (root / "train").glob("*.jpg")])) / 1e3


def _annotations(rng: np.random.Generator, number: int, objects: int) -> Iterator[dict[str, Any]]:
    for index in range(objects):
        polygons = _outline(rng, 2 if index % TWO_PARTS_EVERY == TWO_PARTS_EVERY - 1 else 1)
        yield {**_measured(polygons, coco_mask.merge(coco_mask.frPyObjects(polygons, *SIZE)), rng), "iscrowd": 0}
    if number % CROWD_EVERY == 0:
        mask = np.asfortranarray(np.maximum.reduce([coco_mask.decode(_filled(rng)) for _ in range(3)]))
        yield {**_measured(_plain_runs(mask), coco_mask.encode(mask), rng), "iscrowd": 1}


def _outline(rng: np.random.Generator, parts: int) -> list[list[float]]:
    """Star-shaped polygons side by side, coordinates with two digits as in COCO."""
    sides = np.array(SIZE[::-1]) * _SIDES[0] * (_SIDES[1] / _SIDES[0]) ** rng.uniform(0, 1, 2)
    centre = rng.uniform(sides / 2, np.array(SIZE[::-1]) - sides / 2)
    polygons = []
    for part in range(parts):
        angles = np.linspace(0, 2 * np.pi, int(rng.integers(*_CORNERS)), endpoint=False)
        radii = rng.uniform(0.7, 1, len(angles))[:, None] * sides / 2 / (parts, 1)
        middle = centre + ((part + 0.5) / parts - 0.5) * sides * (1, 0)
        points = middle + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        polygons.append(np.round(points, 2).ravel().tolist())
    return polygons


def _filled(rng: np.random.Generator) -> Any:
    return coco_mask.merge(coco_mask.frPyObjects(_outline(rng, 1), *SIZE))


def _plain_runs(mask: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Uncompressed run lengths, as COCO has its crowds."""
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return {"size": list(SIZE), "counts": [0, *runs] if flat[0] else runs}


def _measured(segmentation: Any, rle: Any, rng: np.random.Generator) -> dict[str, Any]:
    return {
        "segmentation": segmentation,
        "bbox": coco_mask.toBbox(rle).tolist(),
        "area": float(coco_mask.area(rle)),
        "category_id": int(rng.integers(NUM_CLASSES)) + 1,
    }
