"""Cityscapes' fine annotations: read, and turned into a COCO-format data set.

`ROOT/leftImg8bit/<split>/<city>/*_leftImg8bit.png` and `ROOT/gtFine/<split>/<city>/*_gtFine_instanceIds.png` (or,
where that is missing, `*_gtFine_polygons.json`). A pixel of an ID map holds 1000 x label + number for one object, or
the label alone for a group that could not be told apart and for everything that has no instances.

H W an image, 1024 x 2048 px.
Ref: paper section "Experiments on Cityscapes" (ledger P69); Cordts et al. 2016; the labels as in
https://github.com/mcordts/cityscapesScripts/blob/master/cityscapesscripts/helpers/labels.py
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from maskline_coco.errors import ImageError
from maskline_coco.image_limits import LIMITS, check_pixels
from maskline_command.console import progress
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from maskline_train.data.errors import DataError, broken_files
from maskline_train.files import refuse_existing, whole_folder

IdMap = npt.NDArray[np.int32]

LABELS = {
    **{"unlabeled": 0, "ego vehicle": 1, "rectification border": 2, "out of roi": 3, "static": 4, "dynamic": 5},
    **{"ground": 6, "road": 7, "sidewalk": 8, "parking": 9, "rail track": 10, "building": 11, "wall": 12},
    **{"fence": 13, "guard rail": 14, "bridge": 15, "tunnel": 16, "pole": 17, "polegroup": 18},
    **{"traffic light": 19, "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24},
    **{"rider": 25, "car": 26, "truck": 27, "bus": 28, "caravan": 29, "trailer": 30, "train": 31},
    **{"motorcycle": 32, "bicycle": 33, "license plate": -1},
}
CLASSES = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")  # those that are scored
WITH_INSTANCES = (*CLASSES, "caravan", "trailer")
# Labels that no metric counts: a detection there is neither right nor wrong.
VOID = (
    *("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "parking"),
    *("rail track", "guard rail", "bridge", "tunnel", "polegroup", "caravan", "trailer", "license plate"),
)
IDS_A_LABEL = 1000
_IMAGE_SUFFIX = "_leftImg8bit.png"


@dataclasses.dataclass(frozen=True)
class Frame:
    """One picture and where its annotations are.

    Attributes:
        name: city and file without its ending, e.g. `aachen/aachen_000000_000019`.
        image: the picture.
        annotations: its annotations' path without `_instanceIds.png`.
    """

    name: str
    image: Path
    annotations: Path


@dataclasses.dataclass(frozen=True)
class Instance:
    """One object, or one group: an area of objects of a class that were not told apart.

    Attributes:
        label: index into `CLASSES`.
        mask: [H, W] bool, the visible pixels.
        is_group: training and both metrics leave groups out.
    """

    label: int
    mask: npt.NDArray[np.bool_]
    is_group: bool


def find_frames(root: Path, split: str) -> list[Frame]:
    """The frames of a split, ordered by name.

    Raises:
        DataError: no such split, or a picture without annotations.
    """
    folder = root / "leftImg8bit" / split
    frames = []
    for image in sorted(folder.glob(f"*/*{_IMAGE_SUFFIX}")):
        city, stem = image.parent.name, image.name.removesuffix(_IMAGE_SUFFIX)
        frames.append(Frame(f"{city}/{stem}", image, root / "gtFine" / split / city / f"{stem}_gtFine"))
    if not frames:
        found = sorted(path.name for path in (root / "leftImg8bit").glob("*") if path.is_dir())
        raise DataError(
            f"{folder}: no *{_IMAGE_SUFFIX} in a city's folder; expected the unpacked leftImg8bit_trainvaltest.zip "
            f"and gtFine_trainvaltest.zip of Cityscapes in {root}; splits there: {', '.join(found) or 'none'}"
        )
    return frames


def read_id_map(frame: Frame) -> IdMap:
    """The ID map [H, W] of a frame: `_instanceIds.png`, or drawn from `_polygons.json` where there is none.

    Raises:
        DataError: neither file is there, or it is not what it should be.
    """
    path = frame.annotations.with_name(f"{frame.annotations.name}_instanceIds.png")
    if not path.is_file():
        return draw_polygons(frame.annotations.with_name(f"{frame.annotations.name}_polygons.json"))
    with (
        broken_files(lambda error: f"{path}: cannot be read ({error}); unpack it again"),
        Image.open(path, formats=("PNG",)) as image,
    ):
        mode, ids = image.mode, np.asarray(image)
    if mode != "I" and not mode.startswith("I;16"):
        raise DataError(f"{path}: got an image of mode {mode}, expected 16-bit IDs; is it labelIds or color?")
    return ids.astype(np.int32)


def draw_polygons(path: Path) -> IdMap:
    """The ID map of an annotation file, later polygons over earlier ones.

    Raises:
        DataError: no such file, a mistake in it, or an unknown label.
    """
    try:
        data = json.loads(path.read_bytes())
        size = (data["imgWidth"], data["imgHeight"])
        check_pixels(str(path), size, LIMITS)
        image = Image.new("I", size, LABELS["unlabeled"])
        drawer, numbers = ImageDraw.Draw(image), dict.fromkeys(WITH_INSTANCES, 0)
        for thing in data["objects"]:
            label, is_group = _label_of(thing["label"], path)
            if thing.get("deleted") or LABELS[label] < 0:
                continue
            value = LABELS[label]
            if label in numbers and not is_group:
                value = value * IDS_A_LABEL + numbers[label]
                numbers[label] += 1
            drawer.polygon([tuple(point) for point in thing["polygon"]], fill=value)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file, nor instanceIds.png beside it; unpack gtFine again") from error
    except (DataError, ImageError) as error:  # they say what it is themselves
        raise DataError(str(error)) from error
    # ValueError: no JSON, no UTF-8, or a point of one number; RecursionError: lists a thousand deep in each other.
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(f"{path}: not a Cityscapes annotation ({error!r}); unpack it again") from error
    return np.asarray(image).astype(np.int32)


def instances_of(ids: IdMap) -> list[Instance]:
    """The objects and groups of the scored classes in an ID map, in the order of their IDs."""
    label_index = {LABELS[name]: index for index, name in enumerate(CLASSES)}
    found = []
    for value in np.unique(ids).tolist():
        label = label_index.get(label_of_id(value))
        if label is not None:
            found.append(Instance(label, ids == value, value < IDS_A_LABEL))
    return found


def label_of_id(value: int) -> int:
    """The label's number in an ID."""
    return value // IDS_A_LABEL if value >= IDS_A_LABEL else value


def convert(root: Path, out: Path, splits: Sequence[str] = ("train", "val")) -> dict[str, dict[str, int]]:
    """Write a COCO-format data set: `annotations/instances_<split>.json`, and `<split>` as a link to the pictures.

    Groups become `iscrowd` annotations, which training leaves out and COCO's metric neither rewards nor punishes.

    Args:
        root: of Cityscapes; the links point there, so it has to stay.
        out: a folder that does not exist yet.
        splits: what to convert.

    Returns:
        For each split the number of objects a class, groups not counted.

    Raises:
        DataError: `out` exists, or something in `root` is missing or broken; nothing is written.
    """
    refuse_existing(out, DataError)
    found = {split: find_frames(root, split) for split in splits}
    with whole_folder(out, DataError) as scratch:
        (scratch / "annotations").mkdir()
        counts = {}
        for split, frames in found.items():
            content = _coco_content(frames, split)
            (scratch / split).symlink_to((root / "leftImg8bit" / split).resolve(), target_is_directory=True)
            path = scratch / "annotations" / f"instances_{split}.json"
            path.write_text(json.dumps(content) + "\n", encoding="utf-8")
            objects = [entry["category_id"] for entry in content["annotations"] if not entry["iscrowd"]]
            counts[split] = {name: objects.count(LABELS[name]) for name in CLASSES}
    return counts


def _coco_content(frames: Sequence[Frame], split: str) -> dict[str, Any]:
    """The COCO file of a split; categories keep Cityscapes' label numbers."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    with progress() as bar:
        for frame in bar.track(frames, description=f"Converting {split}"):
            ids = read_id_map(frame)
            name = f"{frame.name}{_IMAGE_SUFFIX}"
            images.append({"id": len(images) + 1, "file_name": name, "height": ids.shape[0], "width": ids.shape[1]})
            for instance in instances_of(ids):
                annotations.append(_annotation(len(annotations) + 1, len(images), instance))
    categories = [{"id": LABELS[name], "name": name} for name in CLASSES]
    info = {"description": f"Cityscapes, fine annotations, {split}"}
    return {"info": info, "images": images, "annotations": annotations, "categories": categories}


def _annotation(number: int, image_id: int, instance: Instance) -> dict[str, Any]:
    """One COCO annotation with the tight box of the visible pixels."""
    rle = coco_mask.encode(np.asfortranarray(instance.mask, np.uint8))
    return {
        "id": number,
        "image_id": image_id,
        "category_id": LABELS[CLASSES[instance.label]],
        "bbox": [float(value) for value in coco_mask.toBbox(rle)],
        "area": int(coco_mask.area(rle)),
        "iscrowd": int(instance.is_group),
        "segmentation": {"size": list(instance.mask.shape), "counts": rle["counts"].decode("ascii")},
    }


def _label_of(name: str, path: Path) -> tuple[str, bool]:
    """The label of a polygon, and whether it is a group: `cargroup` is a group of cars, `polegroup` a label itself."""
    if name in LABELS:
        return name, False
    base = name.removesuffix("group")
    if base == name or base not in LABELS:
        raise DataError(f"{path}: unknown label {name!r}, expected one of Cityscapes', or one with 'group' after it")
    return base, True
