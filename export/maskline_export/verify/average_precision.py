"""AP of the trained model and of each line on the same images, and what a line loses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from maskline_train.data.coco import CocoDataset
from maskline_train.distributed import Processes
from maskline_train.evaluation.evaluate import Metrics, Result, evaluate, image_results, percent, score
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.spec import ModelSpec
from rich.table import Table

from maskline_export.verify.lines.found import Answer, Picture, answer_of
from maskline_export.verify.onnx_runtime import OnnxPipeline

Ap = dict[str, dict[str, Any]]  # side to kind (`box`, `mask`, `keypoint`) to its statistics
Answers = Callable[[Picture], Answer]
REFERENCE = "pytorch"


def average_precision(
    model: MaskRCNN, lines: Mapping[str, Answers], dataset: CocoDataset, advance: Callable[[], None] = lambda: None
) -> Ap:
    """AP of the model, as `pytorch`, and of each line by its name, for what the model answers."""
    reference = evaluate(model, dataset, Processes(0, 1, torch.device("cpu")), batch=1)
    advance()
    found: Ap = {REFERENCE: reference.kinds()}
    for name, answer in lines.items():
        found[name] = metrics_of(answer, dataset, model.spec).kinds()
        advance()
    return found


def metrics_of(answer: Answers, dataset: CocoDataset, spec: ModelSpec) -> Metrics:
    """AP of whatever answers pictures, one at a time as requests bring them."""
    results: list[Result] = []
    for index, image_id in enumerate(dataset.image_ids):
        found = answer(picture_of(dataset, index, spec))
        categories = [dataset.category_ids[label] for label in found.labels]
        results += image_results(image_id, categories, found.boxes, found.scores, found.masks, found.keypoints)
    return score(
        dataset, results, dataset.image_ids, masks=spec.mask_head is not None, keypoint_head=spec.keypoint_head
    )


def onnx_metrics(artifact: Path, dataset: CocoDataset, spec: ModelSpec) -> Metrics:
    """AP of an artifact's stages in ONNX Runtime."""
    chain = OnnxPipeline(artifact)

    def answer(picture: Picture) -> Answer:
        return answer_of(chain.detect(picture.canvas, picture.info), picture, spec)

    return metrics_of(answer, dataset, spec)


def picture_of(dataset: CocoDataset, index: int, spec: ModelSpec) -> Picture:
    """An image of a data set."""
    name = dataset[index].file_name
    return Picture.of(name, dataset.image(index), spec, dataset.image_folder / name)


def ap_table(ap: Ap) -> Table:
    """AP of all sides, in points of 100, and the points of AP that each loses against PyTorch, where that is there."""
    names = list(next(iter(ap.values()))["box"])
    table = Table(title="Average precision, points of 100", title_justify="left")
    reference = ap.get(REFERENCE)
    table.add_column("")
    for name in (*names, *(["AP lost"] if reference else [])):
        table.add_column(name, justify="right")
    for side, kinds in ap.items():
        for kind, values in kinds.items():
            lost = [_lost(reference[kind]["AP"], values["AP"]) if side != REFERENCE else ""] if reference else []
            table.add_row(f"{side} {kind}", *(percent(values[name]) if name in values else "" for name in names), *lost)
    return table


def _lost(reference: float | None, found: float | None) -> str:
    return "-" if reference is None or found is None else f"{100 * (reference - found):+.2f}"
