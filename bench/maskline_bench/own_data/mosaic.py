"""`python -m maskline_bench.own_data.mosaic DATA OUT`: pictures of a set side by side, as large ones of small objects.

What tiles gain shows on them: `maskline-train evaluate` of a checkpoint that knows the objects, without and with them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from maskline_tiles import Tile, piece_of_mask, run_lengths
from maskline_train.data.coco import CocoDataset
from maskline_train.files import whole_folder
from PIL import Image
from pycocotools import mask as coco_mask

from maskline_bench.errors import in_one_line, refusals_told


def main(
    data: Annotated[Path, typer.Argument(help="A COCO-format set.")],
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    side: Annotated[int, typer.Option(min=2, help="Pictures in a row, and rows.")] = 4,
    split: Annotated[str, typer.Option(help="Which split.")] = "val",
) -> None:
    """Put the pictures of a split side by side, each in a field of the largest one's size.

    Example: python -m maskline_bench.own_data.mosaic out/digits out/large
    """
    dataset = CocoDataset(data, split)
    with whole_folder(out, ValueError) as scratch:
        (scratch / "annotations").mkdir()
        (scratch / split).mkdir()
        content = _mosaics(dataset, side, scratch / split)
        (scratch / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    typer.echo(f"{out}: {len(content['images'])} pictures, {len(content['annotations'])} objects")


def _mosaics(dataset: CocoDataset, side: int, folder: Path) -> dict[str, Any]:
    """Write the pictures; returns what the annotation file holds."""
    height, width = np.array(dataset.sizes).max(axis=0).tolist()
    size = side * height, side * width
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for first in range(0, len(dataset) - side**2 + 1, side**2):
        canvas = np.zeros((*size, 3), np.uint8)
        images.append({"id": len(images) + 1, "file_name": f"{first}.png", "height": size[0], "width": size[1]})
        for place in range(side**2):
            y0, x0 = place // side * height, place % side * width
            pixels, objects = dataset.image(first + place), dataset.objects(first + place)
            canvas[y0 : y0 + pixels.shape[0], x0 : x0 + pixels.shape[1]] = pixels
            field = Tile(y0, x0, *pixels.shape[:2])
            for box, label, mask in zip(objects.boxes.tolist(), objects.labels, objects.each_mask, strict=True):
                piece = piece_of_mask(field, box, 1.0, int(label), mask.astype(bool))
                rle = coco_mask.frPyObjects({"size": list(size), "counts": run_lengths(piece, size).tolist()}, *size)
                bx0, by0, bx1, by1 = piece.box
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": len(images),
                        "category_id": dataset.category_ids[int(label)],
                        "bbox": [bx0, by0, bx1 - bx0, by1 - by0],
                        "area": piece.area,
                        "iscrowd": 0,
                        "segmentation": {"size": list(size), "counts": rle["counts"].decode("ascii")},
                    }
                )
        Image.fromarray(canvas).save(folder / f"{first}.png")
    categories = [{"id": key, "name": name} for key, name in zip(dataset.category_ids, dataset.classes, strict=True)]
    return {"images": images, "annotations": annotations, "categories": categories}


if __name__ == "__main__":
    with in_one_line("maskline_bench.own_data.mosaic"), refusals_told():
        typer.run(main)
