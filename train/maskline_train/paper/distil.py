"""Data distillation: a model annotates unlabelled images for itself, and learns again from both.

Every unlabelled image is predicted with test-time augmentation; of all predictions the best are kept, so many that an
unlabelled image has as many objects on average as a labelled one. Keypoints of the kept objects are labelled by the
same rule. Then `fit` trains on labelled and generated annotations alike, from the model.

    OUT/annotations/<kind>_train.json   the labelled annotations, then the generated ones (with their `score`)
    OUT/annotations/<kind>_val.json     those of the labelled set's validation split
    OUT/train/labelled, OUT/train/unlabelled, OUT/val   links to the folders of the images

Ref: paper appendix, keypoints (ledger P67): "uses a model trained on labeled data to predict annotations on unlabeled
images, and in turn updates the model with these new annotations"; Radosavovic et al. 2018 for the rule of selection.
Differs: theirs keeps the share of labelled images in a batch fixed; here all images are drawn alike.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from maskline_command.console import progress
from pycocotools import mask as coco_mask

from maskline_train.data.canvas import image_info
from maskline_train.data.coco import CocoDataset
from maskline_train.data.errors import DataError
from maskline_train.data.images import decode_image
from maskline_train.distributed import Processes, barrier, gather_objects
from maskline_train.evaluation.evaluate import Result, to_results
from maskline_train.evaluation.many_views import PAPER_VIEWS, View, detect_augmented
from maskline_train.files import refuse_existing, whole_folder
from maskline_train.model.mask_rcnn import MaskRCNN

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff")
VISIBLE, HIDDEN = 2, 0  # COCO's visibility of a keypoint: labelled and visible; not labelled


@dataclasses.dataclass(frozen=True)
class Distilled:
    """What was generated.

    Attributes:
        images: unlabelled images.
        objects: annotations generated.
        score_thresh: the score of the last of them; None where there is none.
        labelled_mean: objects a labelled image.
    """

    images: int
    objects: int
    score_thresh: float | None
    labelled_mean: float

    def describe(self) -> str:
        """One line."""
        if self.score_thresh is None:
            return f"{self.images} unlabelled images, nothing found in them"
        return (
            f"{self.images} unlabelled images, {self.objects} objects of score {self.score_thresh:.3f} and more: "
            f"{self.objects / self.images:.2f} an image, the labelled ones have {self.labelled_mean:.2f}"
        )


def distil(
    model: MaskRCNN,
    labelled: CocoDataset,
    val_set: CocoDataset,
    unlabelled: Path,
    out: Path,
    processes: Processes,
    views: Sequence[View] = PAPER_VIEWS,
) -> Distilled:
    """Write a data set of the labelled images and of unlabelled ones with generated annotations.

    The unlabelled images are shared out over the processes; the main one writes, every process gets the report.

    Args:
        model: in evaluation mode.
        labelled: what it was trained on.
        val_set: taken over as it is.
        unlabelled: a folder of images, its subfolders not included.
        out: a folder that does not exist yet; links in it point to the folders of the images.
        processes: from `process_group()`.
        views: of test-time augmentation.

    Raises:
        DataError: `out` exists, no image, or one that cannot be decoded; nothing is written.
        ValueError: the data set has other classes than the model.
    """
    refuse_existing(out, DataError)
    if labelled.classes != model.spec.classes:
        raise ValueError(
            f"{labelled.annotation_file}: got classes {', '.join(labelled.classes)}, expected the model's "
            f"{', '.join(model.spec.classes)}"
        )
    files = find_images(unlabelled)
    first_id = max(labelled.image_ids) + 1
    images: list[dict[str, Any]] = []
    results: list[Result] = []
    own = list(_predict(model, labelled, files, first_id, views, processes))
    for image, found in sorted((pair for part in gather_objects(own) for pair in part), key=_image_id):
        images.append(image)
        results += found
    mean = sum(not a.unused for record in labelled for a in record.annotations) / len(labelled)
    kept = select(results, round(mean * len(images)))
    if model.spec.keypoint_head is not None:
        _label_keypoints(kept, labelled)
    if processes.is_main:
        _write(out, labelled, val_set, unlabelled, images, kept)
    barrier()
    thresh = min((result["score"] for result in kept), default=None)
    return Distilled(len(images), len(kept), thresh, mean)


def find_images(folder: Path) -> list[Path]:
    """The image files of a folder, by name.

    Raises:
        DataError: there is none.
    """
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise DataError(f"{folder}: holds no image ({', '.join(SUFFIXES)}); expected a folder of unlabelled images")
    return files


def select(results: Sequence[Result], count: int) -> list[Result]:
    """The `count` results of the highest scores, in their order; ties: the earlier. Empty masks are left out."""
    usable = [result for result in results if "segmentation" not in result or coco_mask.area(_rle(result)) > 0]
    best = sorted(range(len(usable)), key=lambda index: -usable[index]["score"])[:count]
    return [usable[index] for index in sorted(best)]


def _predict(
    model: MaskRCNN,
    labelled: CocoDataset,
    files: Sequence[Path],
    first_id: int,
    views: Sequence[View],
    processes: Processes,
) -> Iterator[tuple[dict[str, Any], list[Result]]]:
    """COCO's entry of each image of this process's share, and what is found in it."""
    share = list(enumerate(files, start=first_id))[processes.rank :: processes.world]
    with progress(shown=processes.is_main) as bar:
        for image_id, path in bar.track(share, description="Predicting"):
            pixels = decode_image(path)
            size = pixels.shape[0], pixels.shape[1]
            detections = detect_augmented(model, pixels, views)
            (found,) = to_results(
                detections, image_info(size, size)[None], [image_id], labelled.category_ids, model.spec.paste
            )
            yield {"id": image_id, "file_name": f"unlabelled/{path.name}", "height": size[0], "width": size[1]}, found


def _image_id(predicted: tuple[dict[str, Any], list[Result]]) -> int:
    return int(predicted[0]["id"])


def _label_keypoints(results: Sequence[Result], labelled: CocoDataset) -> None:
    """Turn probabilities into visibilities: as many keypoints an object are labelled as in the labelled set."""
    objects = [a for record in labelled for a in record.annotations if not a.unused]
    mean = sum(visibility > 0 for a in objects for visibility in a.keypoints[2::3]) / max(len(objects), 1)
    scores = sorted((score for result in results for score in result["keypoints"][2::3]), reverse=True)
    count = min(round(mean * len(results)), len(scores))
    thresh = scores[count - 1] if count else 2.0
    for result in results:
        visibilities = [VISIBLE if score >= thresh else HIDDEN for score in result["keypoints"][2::3]]
        result["keypoints"][2::3] = visibilities
        result["num_keypoints"] = visibilities.count(VISIBLE)


def _annotation(key: int, result: Result) -> dict[str, Any]:
    """A COCO annotation of a result; without a mask branch, the mask is the box."""
    x, y, width, height = result["bbox"]
    entry = {"id": key, "iscrowd": 0, "area": width * height, **result}
    if "segmentation" in result:
        entry["area"] = int(coco_mask.area(_rle(result)))
    else:
        entry["segmentation"] = [[x, y, x + width, y, x + width, y + height, x, y + height]]
    return entry


def _rle(result: Result) -> dict[str, Any]:
    rle = result["segmentation"]
    return {"size": rle["size"], "counts": rle["counts"].encode("ascii")}


def _write(
    out: Path,
    labelled: CocoDataset,
    val_set: CocoDataset,
    unlabelled: Path,
    images: Sequence[dict[str, Any]],
    results: Sequence[Result],
) -> None:
    """Write the joint set under a temporary name, then rename it."""
    content = json.loads(labelled.annotation_file.read_bytes())
    for image in content["images"]:
        image["file_name"] = f"labelled/{image['file_name']}"
    first = max((entry["id"] for entry in content["annotations"]), default=0) + 1
    content["images"] += images
    content["annotations"] += [_annotation(key, result) for key, result in enumerate(results, start=first)]
    kind = labelled.annotation_file.stem.removesuffix(f"_{labelled.split}")
    with whole_folder(out, DataError) as scratch:
        for folder in ("annotations", "train"):
            (scratch / folder).mkdir()
        (scratch / "annotations" / f"{kind}_train.json").write_text(json.dumps(content) + "\n", encoding="utf-8")
        shutil.copyfile(val_set.annotation_file, scratch / "annotations" / f"{kind}_val.json")
        for link, target in (
            ("train/labelled", labelled.image_folder),
            ("train/unlabelled", unlabelled),
            ("val", val_set.image_folder),
        ):
            (scratch / link).symlink_to(target.resolve(), target_is_directory=True)
