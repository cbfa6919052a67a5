"""Pictures of what a model finds: beside the ground truth during training, or in image files.

Results are COCO results (`evaluate.to_results`): boxes xywh, RLE masks and keypoints in pixels of the original image.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from maskline_command.wording import counted
from maskline_show.picture import ColourBy, draw, viewing_scale
from maskline_show.thinned import draw_within
from PIL import Image

from maskline_train.data.canvas import preprocess_batch
from maskline_train.data.coco import CocoDataset
from maskline_train.data.images import Pixels, decode_image
from maskline_train.evaluation.by_tiles import Tiling, detect_by_tiles
from maskline_train.evaluation.drawn import Drawn, found, known
from maskline_train.evaluation.evaluate import Result, to_results
from maskline_train.evaluation.sheet import contact_sheet
from maskline_train.files import replace_file
from maskline_train.model.mask_rcnn import MaskRCNN

MIN_SCORE = 0.5  # of what a sheet shows: below, an untrained model would hide the picture
SHEET_IMAGES = 8
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp")  # of the images in a folder
COMPRESSION = 2  # of PNGs: a third of the time that the usual 6 takes, for a fifth more bytes
TILE_PX = 640  # longest side of a picture on the sheet: its labels can be read, and eight pairs are a few MB


def write_sheet(path: Path, dataset: CocoDataset, results: Sequence[Result], num_images: int) -> None:
    """Write a PNG of the first images of a data set: two pairs a row, ground truth left, results right.

    Args:
        path: of the PNG; its folder is made.
        dataset: the split that was evaluated.
        results: of its first `num_images` images.
        num_images: how many were evaluated; at most eight are shown.
    """
    shown = range(min(num_images, SHEET_IMAGES))
    path.parent.mkdir(parents=True, exist_ok=True)
    _save_png(path, pairs_sheet(dataset, results, shown))


def pairs_sheet(dataset: CocoDataset, results: Sequence[Result], indices: Iterable[int]) -> Image.Image:
    """Images of a data set by their indices, two pairs a row: ground truth left, results right."""
    pictures, captions = [], []
    for index in indices:
        image, name = Image.fromarray(dataset.image(index)), dataset[index].file_name
        truth, guess = known(dataset, index), sure_of(dataset, results, index)
        pictures += [draw_within(image, drawn, TILE_PX) for drawn in (truth, guess)]
        captions += [f"{name}, truth: {len(truth.names)}", f"found: {len(guess.names)}, of score {MIN_SCORE:g} or more"]
    return contact_sheet(pictures, 4, captions)


def sure_of(dataset: CocoDataset, results: Iterable[Result], index: int, min_score: float = MIN_SCORE) -> Drawn:
    """What was found in image `index` with at least `min_score`."""
    key = dataset.image_ids[index]
    mine = [result for result in results if result["image_id"] == key and result["score"] >= min_score]
    return found(mine, dataset.sizes[index], dataset.classes, dataset.category_ids, dataset.keypoint_names)


def predict_files(
    model: MaskRCNN,
    images: Sequence[Path],
    out: Path,
    min_score: float,
    device: torch.device,
    colour_by: ColourBy = "class",
    tiling: Tiling | None = None,
) -> Iterator[str]:
    """Detect in image files one by one and write PNGs, drawn as `maskline-client detect` draws; yields a line for each.

    Args:
        model: in evaluation mode, on `device`.
        images: files, each of which becomes `out/<name>.png`, or folders, whose images keep their place in them.
        out: made with the first picture, if it does not exist.
        min_score: of what is drawn.
        device: where the model is.
        colour_by: what the colours follow.
        tiling: look at each image tile by tile.

    Raises:
        ValueError: two files would have the same output, or a folder holds no image.
        ImageError: a file cannot be decoded.
    """
    jobs = [job for path in images for job in _jobs(path, out)]
    targets = [target for _, target in jobs]
    twice = next((target for i, target in enumerate(targets) if target in targets[:i]), None)
    if twice is not None:
        raise ValueError(f"{twice}: two images would be written there; give them other names or use two --out")
    classes, head = model.spec.classes, model.spec.keypoint_head
    for path, target in jobs:
        image = decode_image(path)
        results = _results_in(model, image, device, tiling)
        sure = [result for result in results if result["score"] >= min_score]
        size, points = (image.shape[0], image.shape[1]), () if head is None else head.names
        drawn = found(sure, size, classes, range(len(classes)), points)
        target.parent.mkdir(parents=True, exist_ok=True)
        scale = viewing_scale(size)
        _save_png(target, draw(Image.fromarray(image), drawn, colour_by=colour_by, scale=scale))
        yield f"{target}: {counted(len(sure), 'object')} of score {min_score:g} or more{_more_of(drawn, results)}"


def _more_of(drawn: Drawn, results: Sequence[Result]) -> str:
    """The classes of what is drawn; where nothing is, the best score of what was left out."""
    if drawn.names:
        return f" ({', '.join(f'{count} {name}' for name, count in Counter(drawn.names).most_common())})"
    best = max((result["score"] for result in results), default=None)
    return "" if best is None else f"; the best has {best:.3f}"


def _results_in(model: MaskRCNN, image: Pixels, device: torch.device, tiling: Tiling | None) -> list[Result]:
    """What is found in a picture, its category ids the class indices."""
    labels = range(model.spec.num_classes)
    if tiling is not None:
        return detect_by_tiles(model, tiling, labels, image, 0)
    canvas, info = preprocess_batch([image], model.spec.preprocessing)
    detections = model.detect(torch.from_numpy(canvas).to(device), torch.from_numpy(info).to(device))
    (results,) = to_results(detections, info, [0], labels, model.spec.paste)
    return results


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
    picture.save(buffer, "PNG", compress_level=COMPRESSION)
    replace_file(path, buffer.getvalue())
