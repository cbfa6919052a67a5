"""What `maskline-export quantize` does: an int8 artifact, and what it brings beside what it costs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maskline_command.output_files import refuse_unwritable
from maskline_train.files import replace_file
from rich.table import Table

from maskline_export.manifest import Manifest, load_artifact
from maskline_export.precision.int8_cpu.artifact import quantise_artifact
from maskline_export.precision.int8_cpu.price import MIN_IOU, Price


def run(
    artifact: Path,
    out: Path,
    calibration: Path,
    data: Path | None,
    split: str,
    allow_slower: bool,
    json_path: Path | None,
    report: Callable[[str], None],
) -> tuple[Manifest, list[Table]]:
    """Quantise, measure AP where there is data, write the JSON; returns the manifest and the tables to print.

    Raises:
        ContractError: see `quantise_artifact`.
        ValueError: data of other classes.
    """
    if data is not None:  # a wrong one is refused before minutes of calibration
        from maskline_train.evaluation.ground_truth import dataset_of

        from maskline_export.verify.average_precision import ap_table, onnx_metrics

        dataset = dataset_of(data, split, load_artifact(artifact).spec)
    refuse_unwritable(json_path)  # likewise
    manifest, price = quantise_artifact(artifact, out, calibration, allow_slower=allow_slower, report=report)
    result: dict[str, Any] = price.to_dict()
    tables = [_speed_table(price), _answer_table(price)]
    if data is not None:
        result["ap"] = {}
        for side, folder in (("float32", artifact), ("int8", out)):
            report(f"{side}: AP on {len(dataset)} images")
            result["ap"][side] = onnx_metrics(folder, dataset, manifest.spec).kinds()
        tables.append(ap_table(result["ap"]))
    if json_path is not None:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(json_path, (json.dumps(result, indent=2) + "\n").encode())
    return manifest, tables


def _speed_table(price: Price) -> Table:
    table = Table(title=f"Medians of {price.images} images in turn, ms", title_justify="left")
    stages = list(price.seconds["float32"])
    for heading in ("", *stages, "all"):
        table.add_column(heading, justify="right" if heading else "left")
    for side in price.seconds:
        cells = (f"{price.median(side, stage) * 1e3:.1f}" for stage in (*stages, None))
        table.add_row(side, *cells)
    ratios = (price.median("float32", stage) / price.median("int8", stage) for stage in (*stages, None))
    table.add_row("times", *(f"{ratio:.2f}" for ratio in ratios))
    return table


def _answer_table(price: Price) -> Table:
    table = Table(title=f"Detections of either side that the other has too: class, box IoU {MIN_IOU}")
    for heading in ("score from", "detections", "matched", "median mask IoU"):
        table.add_column(heading, justify="right")
    for score, found in price.found.items():
        iou = f"{statistics.median(found.mask_ious):.3f}" if found.mask_ious else "-"
        table.add_row(f"{score}", str(found.detections), f"{found.share:.1%}", iou)
    return table
