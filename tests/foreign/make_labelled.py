"""Write tests/foreign/labelled: small data sets by Datumaro in the formats that `data convert` reads.

In an environment of its own that has datumaro 1.13.12, from the repository's root:
PYTHONPATH=tests python tests/foreign/make_labelled.py tests/foreign/labelled
"""

import sys
from pathlib import Path

import numpy as np
from datumaro import AnnotationType, Bbox, Dataset, DatasetItem, Image, LabelCategories, Mask, Polygon
from support.data.mask_files import HEIGHT, IDS, WIDTH, id_map

CLASSES = ("cat", "dog")
LABELS = (1, 0, 1)  # of the objects of `id_map`, in the order of IDS
CORNERS = (2.0, 30.0, 12.0, 30.0, 12.0, 38.0, 2.0, 38.0)  # a polygon beside them
SUBSETS = {"train": ("a", "city/b"), "val": ("c",)}


def masks():
    """Of each of IDS its pixels."""
    return [id_map() == value for value in IDS]


def objects(kind):
    """The annotations of a picture: masks and the polygon, or the polygon and a box."""
    if kind == "shapes":
        return [
            Polygon(CORNERS, label=0, attributes={"occluded": True}),
            Bbox(20, 5, 10, 8, label=1, z_order=1),
        ]
    found = [
        Mask(mask, label=label, group=number)
        for number, (mask, label) in enumerate(zip(masks(), LABELS, strict=True), 1)
    ]
    return [*found, Polygon(CORNERS, label=0, group=4)]


def dataset(subsets, kind="masks"):
    """Pictures of noise in these subsets; `none` has no object."""
    items = []
    for subset, names in subsets.items():
        for name in names:
            pixels = np.random.default_rng(len(items)).integers(0, 256, (HEIGHT // 8, WIDTH // 4, 3))
            pixels = np.kron(pixels, np.ones((8, 4, 1))).astype(np.uint8)  # blocks: a few kB
            annotations = [] if name == "none" else objects(kind)
            media = Image.from_numpy(pixels, ext=".png")
            items.append(DatasetItem(id=name, subset=subset, media=media, annotations=annotations))
    categories = {AnnotationType.label: LabelCategories.from_iterable(CLASSES)}
    return Dataset.from_iterable(items, categories=categories, media_type=Image)


def write(folder):
    """All formats."""
    one = {"default": ("a", "city/b", "none")}
    dataset(SUBSETS).export(folder / "voc", "voc_segmentation", save_media=True, label_map="source")
    dataset(SUBSETS).export(folder / "coco", "coco_instances", save_media=True)
    dataset(one).export(folder / "coco_default", "coco_instances", save_media=True)
    dataset({"default": ("a", "none")}).export(folder / "cvat_masks", "cvat", save_media=True)
    dataset({"default": ("city/b", "none")}, "shapes").export(folder / "cvat_shapes", "cvat", save_media=True)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
