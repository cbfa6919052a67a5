"""One row of an ablation: trained, or evaluated in another way, and what it reached."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from maskline_train.checkpoint import SPEC_FILE, WEIGHTS_FILE, load_model, read_weights
from maskline_train.data.coco import CocoDataset
from maskline_train.distributed import Processes, barrier
from maskline_train.evaluation.evaluate import Metrics, evaluate, percent
from maskline_train.evaluation.many_views import PAPER_VIEWS, View
from maskline_train.files import replace_file, replacing
from maskline_train.fit import FREE_TO_CHANGE, fit
from maskline_train.paper.four_step import FOLDERS, four_step
from maskline_train.paper.table import EVERYTHING, Row
from maskline_train.recipe import Recipe
from maskline_train.training.metrics_log import METRICS, read_metrics
from maskline_train.training.stage import detect_with
from maskline_train.training.state import LAST

RESULT_FILE = "result.json"
MARKER_FILE = "made_by"  # the fingerprint of the row's run, from its first step on
SHEET_IMAGES = 3  # whose detections a result keeps, for the pictures


@dataclasses.dataclass(frozen=True)
class RowResult:
    """What one row reached.

    Attributes:
        name: of the row.
        steps: optimizer steps trained, of each stage where there are stages.
        seconds: of training, however often it was interrupted; of an augmented row, of its evaluation.
        metrics: `mask AP` etc. to a fraction 0..1; None where no ground truth counts.
        results: COCO results of the first images, for the sheet.
        run: the folder that was trained, seen from the folder of all tables.
        made_by: a hash of all that decides the figures: recipe, start, data, way of training.
    """

    name: str
    steps: int
    seconds: float
    metrics: dict[str, float | None]
    results: list[dict[str, Any]]
    run: str
    made_by: str

    def summary(self, kinds: tuple[str, ...]) -> str:
        """One line: the AP of each kind, and how long it took."""
        shown = [f"{kind} AP {percent(self.metrics.get(f'{kind} AP'))}" for kind in kinds if self.has(kind)]
        return f"{', '.join(shown)} after {self.seconds / 60:.1f} min"

    def has(self, kind: str) -> bool:
        """Whether the row answers `box`, `mask` or `keypoint`."""
        return f"{kind} AP" in self.metrics


@dataclasses.dataclass(frozen=True)
class Bench:
    """What all rows of a table share.

    Attributes:
        train_set: what is learned from.
        val_set: what is evaluated on.
        out: the table's folder.
        processes: from `process_group()`.
        init: where rows start from.
    """

    train_set: CocoDataset
    val_set: CocoDataset
    out: Path
    processes: Processes
    init: Path | None

    def fingerprint(self, row: Row, recipe: Recipe, before: RowResult | None) -> str:
        """A hash of what decides a row's figures; `before` is the last above that has some."""
        if row.augmented:
            return _hash({"augmented": before.made_by if before else ""})
        settings = recipe.to_dict()
        for name in set(FREE_TO_CHANGE) - {"steps", "evaluate_images"}:
            del settings["training"][name]
        init = self.init
        weights = init / WEIGHTS_FILE if init is not None and init.is_dir() else init
        files = (weights, self.train_set.annotation_file, self.val_set.annotation_file)
        hashes = [hashlib.sha256(path.read_bytes()).hexdigest() if path else None for path in files]
        return _hash({"recipe": settings, "files": hashes, "start": row.start, "stagewise": row.stagewise})

    def start_of(self, row: Row) -> Path | None:
        """What the row's training starts from: `init`, or a folder with what the row takes of it.

        Raises:
            ValueError: the row takes nothing of it.
        """
        if self.init is None or not self.init.is_dir() or row.start == EVERYTHING:
            return self.init
        folder = self.out / "start" / "-".join(prefix.strip(".") for prefix in row.start)
        if self.processes.is_main:
            weights = read_weights(self.init / WEIGHTS_FILE)
            taken = {name: value for name, value in weights.items() if name.startswith(row.start)}
            if not taken:
                raise ValueError(
                    f"{self.init}: got no weights {' or '.join(f'{p}*' for p in row.start)} for row {row.name!r}, "
                    f"expected a checkpoint folder of maskline"
                )
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(folder / WEIGHTS_FILE) as path:
                save_file(taken, path, metadata={"format": "pt"})
            replace_file(folder / SPEC_FILE, (self.init / SPEC_FILE).read_bytes())
        barrier()
        return folder


def run_row(row: Row, recipe: Recipe, folder: Path, bench: Bench, made_by: str, before: RowResult | None) -> RowResult:
    """Train a row, or go on with it, and evaluate it.

    Args:
        row: which.
        recipe: the row's own.
        folder: of its run.
        bench: what it shares with the others.
        made_by: its fingerprint.
        before: the last result above.

    Raises:
        ValueError, NonFiniteLossError, Interrupted: as `fit`; an augmented row with no result above.
    """
    started, run = time.perf_counter(), folder
    if row.augmented:
        if before is None:
            raise ValueError(f"row {row.name!r}: got no result above it to evaluate; run one of those rows first")
        run = bench.out.parent / before.run
        metrics = _evaluate(row, recipe, run, bench)
    else:
        # A run that was stopped between its last checkpoint and its result gives none: it is evaluated again.
        metrics = _train(row, recipe, folder, bench) or _evaluate(row, recipe, folder, bench)
    shown = bench.val_set.image_ids[:SHEET_IMAGES]
    return RowResult(
        name=row.name,
        steps=recipe.training.steps,
        seconds=time.perf_counter() - started if row.augmented else _training_seconds(folder, recipe),
        metrics={f"{kind} {name}": value for kind, found in metrics.kinds().items() for name, value in found.items()},
        results=[entry for entry in metrics.results if entry["image_id"] in shown],
        run=run.relative_to(bench.out.parent).as_posix(),
        made_by=made_by,
    )


def views_of(recipe: Recipe) -> list[View]:
    """The paper's views of test-time augmentation; what never learned from mirror images is shown none."""
    return [view for view in PAPER_VIEWS if recipe.augmentation.flip_probability > 0 or not view.flipped]


def _train(row: Row, recipe: Recipe, folder: Path, bench: Bench) -> Metrics | None:
    init, sets = bench.start_of(row), (bench.train_set, bench.val_set)
    if row.stagewise:
        return four_step(recipe, *sets, folder, bench.processes, init=init, resume=True, shared=False)
    return fit(recipe, *sets, folder, bench.processes, init=init, resume=True)


def _evaluate(row: Row, recipe: Recipe, run: Path, bench: Bench) -> Metrics:
    """The metrics of a finished run, as its training reports them, or with test-time augmentation."""
    device, detect = bench.processes.device, None
    if row.stagewise:
        proposer, model = (load_model(run / name / LAST).to(device) for name in FOLDERS[:2])
        detect = detect_with(proposer, model)
    else:
        model = load_model(run / LAST).to(device)
    views = views_of(recipe) if row.augmented else []
    images = recipe.training.evaluate_images
    return evaluate(model, bench.val_set, bench.processes, max_images=images, detect=detect, views=views)


def _training_seconds(folder: Path, recipe: Recipe) -> float:
    """What the steps of a run, or of its stages, took, from the speeds that it logged."""
    seconds = 0.0
    for path in sorted(folder.rglob(METRICS)):
        done = 0
        for entry in read_metrics(path):
            if entry["kind"] == "train":
                images = (int(entry["step"]) - done) * recipe.training.total_batch
                seconds, done = seconds + images / float(entry["images_per_s"]), int(entry["step"])
    return seconds


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
