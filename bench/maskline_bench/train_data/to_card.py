"""The training loader on a machine with a GPU: JPEGs in, batches of 800x1088 on the card out, by numbers of workers.

Decoding, resizing, masks, pinning, the way out of the workers and the copy on its stream are all in it; nothing is
computed with a batch. The files are those of bench-data.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import torch
import typer
from maskline_train.data.coco import CocoDataset
from maskline_train.data.loader import Batch, train_loader
from maskline_train.data.transforms import Augmentation
from maskline_train.spec import PreprocessingSpec
from maskline_train.training.prefetch import on_device

from maskline_bench.errors import in_one_line
from maskline_bench.owed.task import Device, head, scratch
from maskline_bench.result_file import write_json
from maskline_bench.train_data.made import make_folder

BATCH = 8
WORKERS = (4, 8, 15)  # of 16 cores, one is the training's own
# A worker may hold two batches when the clock starts: so many are taken before, and far more while it runs.
_WARM_UP = 3  # batches a worker
_COUNTED = 200  # batches


def images_per_second(batches: Iterator[Batch], device: torch.device, warm_up: int, counted: int) -> float:
    """How many images arrive on the device a second, once `warm_up` batches have."""
    for _ in itertools.islice(batches, warm_up):
        _wait(device)
    start = time.perf_counter()
    for _ in itertools.islice(batches, counted):
        _wait(device)
    return BATCH * counted / (time.perf_counter() - start)


def _wait(device: torch.device) -> None:
    """Until the batch has arrived, as a step would."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


def measure(dataset: CocoDataset, device: torch.device, workers: int, counted: int) -> float:
    """Images a second with so many workers."""
    loader = train_loader(
        dataset,
        PreprocessingSpec(),
        batch_size=BATCH,
        seed=0,
        augmentation=Augmentation(),
        workers=workers,
        pin_memory=device.type == "cuda",
    )
    return images_per_second(on_device(loader, device), device, _WARM_UP * workers, counted)


def main(
    json_file: Annotated[Path, typer.Option("--json", help="The file to write.")],
    device: Annotated[Device, typer.Option(help="Where the batches go.")] = "cuda",
    quick: Annotated[bool, typer.Option("--quick", help="A few files: shows only that the script runs.")] = False,
) -> None:
    """Time the training loader with 4, 8 and 15 workers, up to the GPU.

    Example: python -m maskline_bench.train_data.to_card --json out/loader.json
    """
    with in_one_line("to_card"), scratch() as folder:
        first = head(device)
        dataset = CocoDataset(make_folder(Path(folder), 8 if quick else 200), "train")
        found = {
            str(workers): measure(dataset, torch.device(device), 1 if quick else workers, 2 if quick else _COUNTED)
            for workers in WORKERS
        }
    cores = len(os.sched_getaffinity(0))
    write_json(json_file, {**first, "quick": quick, "batch": BATCH, "cores": cores, "images_per_second": found})


if __name__ == "__main__":
    typer.run(main)
