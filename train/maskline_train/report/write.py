"""Writes the report of a run."""

from __future__ import annotations

import json
from pathlib import Path

from maskline_train.data.coco import CocoDataset
from maskline_train.evaluation.evaluate import Metrics
from maskline_train.files import replace_file
from maskline_train.report.findings import find
from maskline_train.report.numbers import NAME, last_run_beside, to_numbers
from maskline_train.report.page import to_html
from maskline_train.report.run import Run


def write_report(
    page: Path, dataset: CocoDataset, metrics: Metrics, run: Run | None, checkpoint: str, *, numbers_too: bool = False
) -> None:
    """Write the page, and with `numbers_too` its figures into the folder of the run, for the next run's report.

    Args:
        page: file to write; its folder is made.
        dataset: the split that was evaluated.
        metrics: of it.
        run: that the model comes from; None where that is not known: nothing is compared then.
        checkpoint: what was evaluated, in words.
        numbers_too: write `report.json`, too.

    Raises:
        OSError: a file cannot be written.
        ImageError: an image of the split cannot be decoded any more.
    """
    findings = find(dataset, metrics)
    numbers = to_numbers(dataset, metrics, findings, {} if run is None else run.recipe, checkpoint)
    last = None if run is None else last_run_beside(run.folder, numbers)
    before = None if last is None else (last[0].name, last[1])
    html = to_html(dataset, metrics, findings, numbers, run, before)
    page.parent.mkdir(parents=True, exist_ok=True)
    replace_file(page, html.encode())
    if numbers_too and run is not None:
        replace_file(run.folder / NAME, (json.dumps(numbers, indent=1) + "\n").encode())
