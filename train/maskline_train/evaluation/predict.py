"""Pictures of what a model finds: beside the ground truth during training, or in image files.

Results are COCO results (`evaluate.to_results`): boxes xywh, RLE masks and keypoints in pixels of the original image.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from maskline_train.data.canvas import preprocess_batch
from maskline_train.data.coco import PIXEL_CENTRE, CocoDataset
from maskline_train.data.images import Pixels, decode_image
from maskline_train.data.masks.rle_masks import RleMasks
from maskline_train.evaluation.evaluate import Result, to_results
from maskline_train.evaluation.pictures import contact_sheet, draw_objects
from maskline_train.files import replace_file
from maskline_train.model.mask_rcnn import MaskRCNN

MIN_SCORE = 0.5  # of what a sheet shows: below, an untrained model would hide the picture
SHEET_IMAGES = 8
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp")  # of the images in a folder
TILE_PX = 400  # longest side of a picture on the sheet


def write_sheet(path: Path, dataset: CocoDataset, results: Sequence[Result], num_images: int) -> None:
    """Write a PNG of the first images of a data set: two pairs a row, ground truth left, results right.

    Args:
        path: of the PNG; its folder is made.
        dataset: the split that was evaluated.
        results: of its first `num_images` images.
        num_images: how many were evaluated; at most eight are shown.
    """
    pictures = []
    for index in range(min(num_images, SHEET_IMAGES)):
        image, truth = dataset.image(index), dataset.objects(index)
        labels = truth.labels.tolist()
        pictures.append(
            draw_objects(image, truth.boxes, labels, dataset.classes, truth.each_mask, keypoints=truth.keypoints)
        )
        found = [result for result in results if result["image_id"] == dataset.image_ids[index]]
        pictures.append(draw_results(image, found, dataset.classes, dataset.category_ids, MIN_SCORE))
    height = min(TILE_PX, max(picture.height for picture in pictures))
    width = min(TILE_PX, max(picture.width for picture in pictures))
    path.parent.mkdir(parents=True, exist_ok=True)
    _save_png(path, contact_sheet(pictures, columns=4, tile=(height, width)))


def draw_results(
    image: Pixels, results: Sequence[Result], classes: Sequence[str], category_ids: Sequence[int], min_score: float
) -> Image.Image:
    """The image with the results of at least `min_score`, the best on top."""
    shown = [result for result in results if result["score"] >= min_score][::-1]
    boxes = [[x, y, x + width, y + height] for x, y, width, height in (result["bbox"] for result in shown)]
    labels = [category_ids.index(result["category_id"]) for result in shown]
    masks = keypoints = None
    if shown and "segmentation" in shown[0]:
        rles = [result["segmentation"] for result in shown]
        encoded = [{**rle, "counts": rle["counts"].encode("ascii")} for rle in rles]
        masks = RleMasks(encoded, (image.shape[0], image.shape[1]))
    if shown and "keypoints" in shown[0]:
        points = np.array([result["keypoints"] for result in shown]).reshape(len(shown), -1, 3)
        keypoints = points + np.array([PIXEL_CENTRE, PIXEL_CENTRE, 0.0])
    return draw_objects(image, boxes, labels, classes, masks, [result["score"] for result in shown], keypoints)


def predict_files(
    model: MaskRCNN, images: Sequence[Path], out: Path, min_score: float, device: torch.device
) -> Iterator[str]:
    """Detect in image files one by one and write drawn PNGs; yields a line for each.

    Args:
        model: in evaluation mode, on `device`.
        images: files, each of which becomes `out/<name>.png`, or folders, whose images keep their place in them.
        out: made with the first picture, if it does not exist.
        min_score: of what is drawn.
        device: where the model is.

    Raises:
        ValueError: two files would have the same output, or a folder holds no image.
        ImageError: a file cannot be decoded.
    """
    jobs = [job for path in images for job in _jobs(path, out)]
    targets = [target for _, target in jobs]
    twice = next((target for i, target in enumerate(targets) if target in targets[:i]), None)
    if twice is not None:
        raise ValueError(f"{twice}: two images would be written there; give them other names or use two --out")
    classes = model.spec.classes
    for path, target in jobs:
        image = decode_image(path)
        canvas, info = preprocess_batch([image], model.spec.preprocessing)
        detections = model.detect(torch.from_numpy(canvas).to(device), torch.from_numpy(info).to(device))
        (results,) = to_results(detections, info, [0], range(len(classes)), model.spec.paste)
        target.parent.mkdir(parents=True, exist_ok=True)
        _save_png(target, draw_results(image, results, classes, range(len(classes)), min_score))
        names = [classes[result["category_id"]] for result in results if result["score"] >= min_score]
        yield f"{target}: {len(names)} objects" + (f" ({', '.join(names)})" if names else "")


def _jobs(path: Path, out: Path) -> list[tuple[Path, Path]]:
    """Image files and where their drawn pictures go; pictures of earlier runs below `out` are left out."""
    if not path.is_dir():
        return [(path, out / f"{path.stem}.png")]
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    found = [file for file in found if not file.resolve().is_relative_to(out.resolve())]
    if not found:
        raise ValueError(f"{path}: got a folder without images, expected some of {', '.join(SUFFIXES)} in it")
    return [(file, out / file.relative_to(path).with_suffix(".png")) for file in found]


def _save_png(path: Path, picture: Image.Image) -> None:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    replace_file(path, buffer.getvalue())
