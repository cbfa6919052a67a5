"""The Cityscapes protocol: average precision of instances as the benchmark's server computes it.

It differs from COCO's: a match needs an IoU above (not at) the threshold; an object under 100 px is no object; the
curve is integrated over the detector's own scores instead of being read at 101 recalls; and a detection without a match
is left out when more of it than the threshold lies on what is not counted: void pixels, groups, too small objects.

H W an image.
Ref: https://github.com/mcordts/cityscapesScripts, evaluation/evalInstanceLevelSemanticLabeling.py
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from maskline_train.data.cityscapes import CLASSES, IDS_A_LABEL, LABELS, VOID, IdMap, find_frames, read_id_map
from maskline_train.data.coco import CocoDataset
from maskline_train.evaluation.evaluate import Result

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
MIN_OBJECT_PX = 100


@dataclasses.dataclass(frozen=True)
class CityscapesMetrics:
    """AP (over IoU 0.5 to 0.95) and AP50 as fractions; None where a class has no object.

    Attributes:
        ap: mean over the classes.
        ap50: the same at IoU 0.5.
        per_class: class name to its `AP` and `AP50`.
    """

    ap: float | None
    ap50: float | None
    per_class: dict[str, dict[str, float | None]]


@dataclasses.dataclass(frozen=True)
class _Guess:
    """One detection: its score, pixels, void pixels, and its pixels on each ID of its class."""

    score: float
    pixels: int
    void: int
    shared: dict[int, int]


@dataclasses.dataclass(frozen=True)
class _Scene:
    """What one image holds of one class: pixels of each ID (groups included), and the detections."""

    pixels: dict[int, int]
    guesses: list[_Guess]

    def is_object(self, key: int) -> bool:
        """False for a group and for what is too small to count."""
        return key >= IDS_A_LABEL and self.pixels[key] >= MIN_OBJECT_PX

    def overlap(self, key: int, guess: _Guess) -> float:
        shared = guess.shared.get(key, 0)
        return shared / (self.pixels[key] + guess.pixels - shared)


@dataclasses.dataclass
class _Count:
    """Detections of a class at one threshold: their scores, which are right, and the objects nobody found."""

    scores: list[float] = dataclasses.field(default_factory=list)
    right: list[bool] = dataclasses.field(default_factory=list)
    missed: int = 0
    num_objects: int = 0


def score_cityscapes(
    dataset: CocoDataset, results: Sequence[Result], image_ids: Sequence[int], root: Path
) -> CityscapesMetrics:
    """Score COCO results on a converted split against the ID maps it was made from.

    Args:
        dataset: what `data.cityscapes.convert` wrote.
        results: with masks; of any order.
        image_ids: the images to score.
        root: of Cityscapes.

    Raises:
        DataError: frames or ID maps are missing.
        ValueError: the data set has other classes, or names images that are not in `root`.
    """
    if dataset.classes != CLASSES:
        raise ValueError(
            f"{dataset.annotation_file}: got classes {', '.join(dataset.classes)}, expected those of Cityscapes; "
            f"convert it with `maskline-train data cityscapes`"
        )
    frames = {f"{frame.name}_leftImg8bit.png": frame for frame in find_frames(root, dataset.split)}
    names = {record.id: record.file_name for record in dataset}
    scenes: dict[str, list[_Scene]] = {name: [] for name in CLASSES}
    for image_id in image_ids:
        if names[image_id] not in frames:
            raise ValueError(f"{names[image_id]}: not in {root}; expected the folder the data set was made from")
        ids = read_id_map(frames[names[image_id]])
        here = [result for result in results if result["image_id"] == image_id]
        for name in CLASSES:
            scenes[name].append(_scene(ids, LABELS[name], [r for r in here if r["category_id"] == LABELS[name]]))
    table = {name: [_average_precision(scenes[name], thresh) for thresh in THRESHOLDS] for name in CLASSES}
    per_class = {name: {"AP": _mean(values), "AP50": values[0]} for name, values in table.items()}
    return CityscapesMetrics(
        ap=_mean([value for values in table.values() for value in values]),
        ap50=_mean([values[0] for values in table.values()]),
        per_class=per_class,
    )


def _scene(ids: IdMap, label: int, results: Sequence[Result]) -> _Scene:
    """One class of one image. A detection without a pixel is dropped."""
    low = label * IDS_A_LABEL
    of_class = (ids == label) | ((ids >= low) & (ids < low + IDS_A_LABEL))
    void = np.isin(ids, [LABELS[name] for name in VOID])
    guesses = []
    for result in results:
        rle = result["segmentation"]
        mask = coco_mask.decode({"size": rle["size"], "counts": rle["counts"].encode("ascii")}).astype(bool)
        if mask.any():
            shared = _histogram(ids[mask & of_class])
            guesses.append(_Guess(result["score"], int(mask.sum()), int((mask & void).sum()), shared))
    return _Scene(_histogram(ids[of_class]), guesses)


def _histogram(values: npt.NDArray[np.int32]) -> dict[int, int]:
    return dict(zip(*(column.tolist() for column in np.unique(values, return_counts=True)), strict=True))


def _average_precision(scenes: Sequence[_Scene], thresh: float) -> float | None:
    """AP of a class at one IoU; None without an object."""
    count = _Count()
    for scene in scenes:
        _match(scene, thresh, count)
    if count.num_objects == 0:
        return None
    return _area_under_curve(np.array(count.scores), np.array(count.right, bool), count.missed)


def _match(scene: _Scene, thresh: float, count: _Count) -> None:
    """Count one image. An object takes the best of the detections over the threshold, the others are wrong.

    Objects share no pixel, so no detection overlaps two of them by more than one half.
    """
    objects = [key for key in scene.pixels if scene.is_object(key)]
    count.num_objects += len(objects)
    matched: set[int] = set()
    for key in objects:
        found = [index for index, guess in enumerate(scene.guesses) if scene.overlap(key, guess) > thresh]
        matched.update(found)
        count.missed += not found
        count.scores += sorted((scene.guesses[index].score for index in found), reverse=True)
        count.right += [position == 0 for position in range(len(found))]
    for index, guess in enumerate(scene.guesses):
        if index not in matched and not _is_ignored(scene, guess, thresh):
            count.scores.append(guess.score)
            count.right.append(False)


def _is_ignored(scene: _Scene, guess: _Guess, thresh: float) -> bool:
    """True when more than `thresh` of a detection lies on what is not counted."""
    not_counted = guess.void
    for key, shared in guess.shared.items():
        # The original counts a group of under 100 px twice; so do we.
        not_counted += shared * (int(key < IDS_A_LABEL) + int(scene.pixels[key] < MIN_OBJECT_PX))
    return not_counted / guess.pixels > thresh


def _area_under_curve(scores: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], missed: int) -> float:
    """The precision at each score times half the distance of the neighbouring recalls, the end (0, 1) included."""
    if not right.any():
        return 0.0
    order = np.argsort(scores)
    scores, right = scores[order], right[order]
    first = np.unique(scores, return_index=True)[1]  # of each distinct score, the position from which it counts
    hits = right.sum() - np.concatenate([[0], np.cumsum(right)])[first]
    precision = np.append(hits / (len(scores) - first), 1.0)
    recall = np.append(hits / (right.sum() + missed), 0.0)
    padded = np.concatenate([recall[:1], recall, [0.0]])
    return float(precision @ (padded[:-2] - padded[2:]) / 2)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
