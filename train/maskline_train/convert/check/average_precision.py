"""What a list of canvases, which engines need, costs in average precision on the user's own data."""

from __future__ import annotations

import dataclasses

from maskline_command.console import progress, results
from rich.table import Table

from maskline_train.convert.check.canvases import listed_canvases, shown
from maskline_train.data.coco import CocoDataset
from maskline_train.distributed import process_group
from maskline_train.evaluation.evaluate import Metrics, evaluate, percent
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.spec import PreprocessingSpec


def show_average_precision(model: MaskRCNN, dataset: CocoDataset) -> None:
    """Print the AP of the network, and beside it that on a list of canvases, where its pictures keep their own size."""
    own = model.spec.preprocessing
    listed = listed_canvases(own)
    sides = {"as imported": _metrics(model, dataset, own, "average precision")}
    if listed is not None:
        sides["on a list of canvases"] = _metrics(model, dataset, listed, "average precision on a list of canvases")
    names = list(next(iter(sides.values())).box)
    table = Table(
        title=f"Average precision on {len(dataset)} images, points of 100",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for name in ("", "", *names):
        table.add_column(name, justify="right" if name else "left")
    for side, metrics in sides.items():
        for number, (kind, values) in enumerate(metrics.kinds().items()):
            table.add_row("" if number else side, kind, *(percent(values.get(name)) for name in names))
    console = results()
    console.print(table)
    if listed is not None:
        console.print(f"the list: {shown(listed)}; engines and batches need one", soft_wrap=True)


def _metrics(model: MaskRCNN, dataset: CocoDataset, preprocessing: PreprocessingSpec, title: str) -> Metrics:
    """Of the network with another preprocessing."""
    with process_group() as processes, progress() as bar:
        own = MaskRCNN(dataclasses.replace(model.spec, preprocessing=preprocessing))
        own.load_state_dict(model.state_dict())
        task = bar.add_task(title, total=len(dataset))

        def advance(done: int, _count: int) -> int:
            bar.update(task, completed=done)
            return 0

        return evaluate(own.to(processes.device), dataset, processes, batch=1, advance=advance)
