"""What test_ddp_stages.py runs by two processes, and by itself: 4-step training, then distillation.

Writes `rank-N.json` beside the results: hashes of the weights that each stage left in this process, and the files that
this process wrote.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from maskline_train import fit as fitting
from maskline_train.data.coco import CocoDataset
from maskline_train.distributed import Processes, process_group
from maskline_train.evaluation.many_views import View
from maskline_train.paper.distil import distil
from maskline_train.paper.four_step import four_step
from support.models.tiny import tiny_model
from support.processes import ddp_worker
from torch import nn

VIEWS = (View(1.0, flipped=False), View(1.0, flipped=True))
WRITING = os.O_WRONLY | os.O_RDWR


@contextlib.contextmanager
def watched_writes(folder: Path) -> Iterator[list[str]]:
    """Names of what this process creates, opens for writing, renames or links below a folder."""
    found: list[str] = []
    watching = True

    def on_event(event: str, values: tuple[object, ...]) -> None:
        writes = event in ("os.mkdir", "os.rename", "os.symlink", "os.remove")
        if watching and (writes or (event == "open" and isinstance(values[2], int) and values[2] & WRITING)):
            paths = [Path(os.fsdecode(v)) for v in values if isinstance(v, str | bytes | os.PathLike)]
            found.extend(path.name for path in paths if path.is_relative_to(folder))

    sys.addaudithook(on_event)  # it stays for as long as the process lives
    try:
        yield found
    finally:
        watching = False


@contextlib.contextmanager
def watched_networks() -> Iterator[list[nn.Module]]:
    """The networks that `fit` trains, one a stage."""
    found: list[nn.Module] = []
    distribute = fitting._distribute

    def keep(network: nn.Module, processes: Processes) -> nn.Module:
        found.append(network)
        return distribute(network, processes)

    fitting._distribute = keep
    try:
        yield found
    finally:
        fitting._distribute = distribute


def fingerprint(network: nn.Module) -> str:
    """A hash of all tensors, bit for bit."""
    state = network.state_dict()
    return hashlib.sha256(b"".join(state[name].contiguous().numpy().tobytes() for name in sorted(state))).hexdigest()


def main() -> None:
    """Argument 1: the data set; 2: a folder of unlabelled images; 3: the folder to write into."""
    torch.set_num_threads(1)
    root, images, out = (Path(word) for word in sys.argv[1:4])
    train, val = CocoDataset(root, "train"), CocoDataset(root, "val")
    recipe = ddp_worker.recipe(train.classes)
    recipe = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, steps=2))
    with process_group() as processes, watched_writes(out) as written, watched_networks() as networks:
        four_step(recipe, train, val, out / "four", processes)
        distil(tiny_model(recipe.model), train, val, images, out / "distilled", processes, VIEWS)
        report = {"weights": [fingerprint(network) for network in networks], "written": list(written)}
        (out / f"rank-{processes.rank}.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main()
