"""Cut a COCO-format split into tiles that are one again. Letters: J keypoints; sizes are (height, width)."""

from __future__ import annotations

import dataclasses
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from maskline_coco.annotation import Annotation
from maskline_coco.segmentation import to_rle
from maskline_tiles import Tile, grid
from PIL import Image
from pycocotools import mask as coco_mask

from maskline_train.data.coco import CocoDataset
from maskline_train.data.convert.files import tracked
from maskline_train.data.errors import DataError
from maskline_train.data.images import Pixels
from maskline_train.data.masks.crops import Crop
from maskline_train.data.masks.rle_masks import RleMasks
from maskline_train.files import save_image

JPEG_QUALITY = 95  # of tiles of lossy pictures; others become PNGs
_LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif", ".webp")


@dataclasses.dataclass(frozen=True)
class Cut:
    """How pictures are cut.

    Attributes:
        side_px: of a tile.
        overlap_px: what neighbours share at least.
        least_share: of an object's pixels; with less of it in a tile it is a crowd region there, so that nobody has to
            find it and nobody is wrong who does.
        empty_per_full: tiles without an object that are kept of a split to train on, for each tile with one.
        seed: another one keeps others.
    """

    side_px: int
    overlap_px: int
    least_share: float
    empty_per_full: float
    seed: int


def cut_split(dataset: CocoDataset, folder: Path, cut: Cut, kind: str, *, trains: bool) -> Counter[str]:
    """Write `annotations/<kind>_<split>.json` and the tiles in `<split>/`.

    Args:
        dataset: the split.
        folder: of the new data set, which exists.
        cut: how.
        kind: of the annotation file.
        trains: whether tiles without objects are thinned out.

    Returns:
        How many: `pictures`, `tiles`, `objects`, `parts` (of them, cut by an edge), `hardly seen` (too little of one in
        a tile), `empty` (tiles without an object that are there), `empty left out`, `without a mask` (annotations,
        which are left out) and `whole` (pictures no larger than a tile).

    Raises:
        DataError: a picture that cannot be decoded, or no object to train on.
    """
    counts: Counter[str] = Counter(pictures=len(dataset))
    counts["whole"] = sum(max(size) <= cut.side_px for size in dataset.sizes)
    places = list(_places(dataset, cut, counts))
    kept = _kept(places, cut, trains=trains)
    counts["empty left out"] = len(places) - len(kept)
    if trains and not any(place.objects for place in places):
        raise DataError(f"{dataset.annotation_file}: got no object to train on, expected some; {dataset.describe()}")
    names = _names(dataset)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    pixels: Pixels | None = None
    before = -1
    for place in tracked([places[index] for index in kept], f"Cutting {dataset.split}"):
        if place.image != before:
            pixels, before = dataset.image(place.image), place.image
        assert pixels is not None
        name = _write_tile(pixels, place.tile, names[place.image], folder / dataset.split)
        images.append(
            {"id": len(images) + 1, "file_name": name, "height": place.tile.height, "width": place.tile.width}
        )
        for entry in [*place.objects, *place.hardly_seen]:
            keys = {"id": len(annotations) + 1, "image_id": len(images)}
            annotations.append({**keys, **entry})
        counts["empty"] += not place.objects
        counts["objects"] += len(place.objects)
        counts["hardly seen"] += len(place.hardly_seen)
    counts["tiles"] = len(images)
    content = {"images": images, "annotations": annotations, "categories": _categories(dataset)}
    path = folder / "annotations" / f"{kind}_{dataset.split}.json"
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")
    return counts


@dataclasses.dataclass(frozen=True)
class _Place:
    """A tile of a picture, with its objects, and those hardly seen, as COCO annotations without ids."""

    image: int
    tile: Tile
    objects: list[dict[str, Any]]
    hardly_seen: list[dict[str, Any]]


def _places(dataset: CocoDataset, cut: Cut, counts: Counter[str]) -> Iterator[_Place]:
    """All tiles, picture by picture; counts `parts`."""
    for index, record in enumerate(dataset):
        size = record.height, record.width
        marked = [annotation for annotation in record.annotations if annotation.segmentation]
        counts["without a mask"] += len(record.annotations) - len(marked)
        crops = list(RleMasks([to_rle(a.segmentation, *size) for a in marked], size).crops)
        for tile in grid(size, cut.side_px, cut.overlap_px):
            place = _Place(index, tile, [], [])
            for annotation, crop in zip(marked, crops, strict=True):
                entry = _in_tile(annotation, crop, tile, cut.least_share, counts)
                if entry is not None:
                    is_sliver = entry["iscrowd"] and not annotation.iscrowd
                    to = place.hardly_seen if is_sliver else place.objects
                    to.append({"category_id": dataset.category_ids[annotation.label], **entry})
            yield place


def _in_tile(
    annotation: Annotation, crop: Crop, tile: Tile, least_share: float, counts: Counter[str]
) -> dict[str, Any] | None:
    """What of an object is in a tile, in pixels of that, a crowd region where it is too little; None: nothing."""
    height, width = crop.pixels.shape
    top, left = max(tile.y0, crop.y0), max(tile.x0, crop.x0)
    bottom, right = min(tile.y1, crop.y0 + height), min(tile.x1, crop.x0 + width)
    if top >= bottom or left >= right:
        return None
    seen = crop.pixels[top - crop.y0 : bottom - crop.y0, left - crop.x0 : right - crop.x0]
    area, whole = int(seen.sum()), int(crop.pixels.sum())
    if area == 0:
        return None
    # Of an object larger than a tile a tile full of it is enough.
    hardly_seen = area < least_share * min(whole, tile.height * tile.width)
    counts["parts"] += area < whole and not hardly_seen
    canvas = np.zeros((tile.height, tile.width), np.uint8, order="F")
    canvas[top - tile.y0 : bottom - tile.y0, left - tile.x0 : right - tile.x0] = seen
    rle = coco_mask.encode(canvas)
    box = coco_mask.toBbox(rle) if area < whole else _moved(annotation.bbox_xywh, tile)
    entry = {
        "bbox": [float(value) for value in box],
        "area": area,
        "iscrowd": int(annotation.iscrowd or hardly_seen),
        "segmentation": {"size": list(canvas.shape), "counts": rle["counts"].decode("ascii")},
    }
    return {**entry, **_keypoints(annotation, tile)}


def _moved(box: tuple[float, float, float, float], tile: Tile) -> tuple[float, float, float, float]:
    return box[0] - tile.x0, box[1] - tile.y0, box[2], box[3]


def _keypoints(annotation: Annotation, tile: Tile) -> dict[str, Any]:
    """Those in the tile; the others count as not labelled."""
    if not annotation.keypoints:
        return {}
    points: list[float] = []
    for x, y, seen in zip(*(annotation.keypoints[i::3] for i in range(3)), strict=True):
        inside = seen > 0 and tile.x0 <= x + 0.5 < tile.x1 and tile.y0 <= y + 0.5 < tile.y1  # pixel indices
        points += [x - tile.x0, y - tile.y0, seen] if inside else [0, 0, 0]
    return {"keypoints": points, "num_keypoints": sum(seen > 0 for seen in points[2::3])}


def _kept(places: list[_Place], cut: Cut, *, trains: bool) -> list[int]:
    """The tiles that are written, in their order: those with objects, and of the others as many as are wanted.

    None to train on that has parts of objects alone that are hardly seen: it would teach them as what is no object.
    """
    full = [index for index, place in enumerate(places) if place.objects]
    empty = [index for index, place in enumerate(places) if not place.objects]
    if trains:
        empty = [index for index in empty if not places[index].hardly_seen]
        wanted = min(len(empty), round(cut.empty_per_full * len(full)))
        empty = random.Random(cut.seed).sample(empty, wanted)
    return sorted([*full, *empty])


def _names(dataset: CocoDataset) -> list[PurePosixPath]:
    """Of each picture what the names of its tiles begin with, and the ending that says whether it is lossy.

    Pictures that differ by their ending alone, which tiles do not keep, have it in the name.
    """
    paths = [PurePosixPath(record.file_name) for record in dataset]
    times = Counter(path.with_suffix("") for path in paths)
    return [
        path if times[path.with_suffix("")] == 1 else path.with_name(f"{path.stem}-{path.suffix[1:]}{path.suffix}")
        for path in paths
    ]


def _write_tile(pixels: Pixels, tile: Tile, path: PurePosixPath, folder: Path) -> str:
    """Write a tile; returns its name below the folder."""
    lossy = path.suffix.lower() in _LOSSY
    name = path.with_name(f"{path.stem}_{tile.y0}_{tile.x0}{'.jpg' if lossy else '.png'}")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.ascontiguousarray(pixels[tile.y0 : tile.y1, tile.x0 : tile.x1]))
    if lossy:
        save_image(folder / name, picture, "JPEG", quality=JPEG_QUALITY)
    else:
        save_image(folder / name, picture, "PNG")
    return str(name)


def _categories(dataset: CocoDataset) -> list[dict[str, Any]]:
    named = {"keypoints": list(dataset.keypoint_names)} if dataset.keypoint_names else {}
    return [{"id": key, "name": name, **named} for key, name in zip(dataset.category_ids, dataset.classes, strict=True)]
