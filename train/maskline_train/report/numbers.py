"""OUT/report.json: the figures of a report, by which the next run is compared."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from maskline_train.data.coco import CocoDataset
from maskline_train.evaluation.evaluate import Metrics
from maskline_train.report.findings import Findings

FORMAT = "maskline-report/1"
NAME = "report.json"
Numbers = dict[str, Any]


def to_numbers(
    dataset: CocoDataset, metrics: Metrics, findings: Findings, recipe: dict[str, Any], checkpoint: str
) -> Numbers:
    """A JSON-ready record.

    Args:
        dataset: the split that was evaluated.
        metrics: of it.
        findings: of it.
        recipe: that the model was trained by; {} where it is not known.
        checkpoint: what was evaluated, in words.
    """
    names = dataset.classes
    return {
        "format": FORMAT,
        "finished": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "checkpoint": checkpoint,
        "recipe": recipe,
        "data": _identity(dataset, metrics.num_images),
        "ap": metrics.kinds(),
        "ap_by_class": metrics.per_class,
        "paired_by": "mask" if findings.masks else "box",
        "score_thresh": findings.threshold,
        "classes": {
            name: {
                "objects": one.objects,
                "found": one.found,
                "right": one.right,
                "precision": one.precision,
                "recall": one.recall,
            }
            for name, one in zip(names, findings.classes, strict=True)
        },
        "confusion": [
            {"truth": _name(truth, names), "found": _name(found, names), "count": count}
            for (truth, found), count in findings.confusion.items()
        ],
        "calibration": [{"count": one.count, "score": one.score, "right": one.right} for one in findings.bins],
        "calibration_error": findings.calibration_error,
    }


def last_run_beside(folder: Path, numbers: Numbers) -> tuple[Path, Numbers] | None:
    """The run to compare with: of the folders beside this one the one that finished last on the very same images.

    Args:
        folder: of this run.
        numbers: of this run. Classes, annotations and number of images have to be the same: figures of others tell
            nothing.
    """
    found = []
    for path in sorted(folder.absolute().parent.glob(f"*/{NAME}")):
        if path.parent.resolve() == folder.resolve():
            continue
        other = _read(path)
        if other is not None and all(other["data"][key] == numbers["data"][key] for key in ("sha256", "images")):
            found.append((other["finished"], path.parent, other))
    if not found:
        return None
    _, where, other = max(found, key=lambda entry: entry[:2])
    return where, other


def _read(path: Path) -> Numbers | None:
    """The figures of another run; None of a file that is no report of this format."""
    try:
        numbers = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return numbers if isinstance(numbers, dict) and numbers.get("format") == FORMAT else None


def _identity(dataset: CocoDataset, images: int) -> dict[str, Any]:
    """Which images were looked at: the same file of annotations has the same classes, too."""
    digest = hashlib.sha256(dataset.annotation_file.read_bytes()).hexdigest()
    return {"annotations": str(dataset.annotation_file), "sha256": digest, "images": images}


def _name(label: int | None, names: tuple[str, ...]) -> str | None:
    return None if label is None else names[label]
