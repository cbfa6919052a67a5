"""How many training items one core makes in a second (T2): JPEG and polygons in, canvas and masks of 800x1088 out.

Stage by stage, beside torchvision's reference pipeline in the same run, in turn, on the same files. Every image is
flipped, in training every second one. Both sides have one thread; a training has one such process a core. Seconds are
those of the processor: neither side waits for anything but its turn on a machine that others use too.

Run: make bench-data, or python -m maskline_bench.train_data --json docs/benchmarks/train_data.json
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from maskline_train.data.coco import CocoDataset
from maskline_train.data.resizing import scaled_size
from maskline_train.spec import PreprocessingSpec
from rich.console import Console
from rich.table import Table

from maskline_bench.errors import BenchmarkError, in_one_line
from maskline_bench.measure import Timing, describe, interleave, paired_ratio, print_head
from maskline_bench.result_file import write_json
from maskline_bench.train_data.made import OBJECTS, SIZE, file_kb, make_folder
from maskline_bench.train_data.sides import Stages, our_collate, our_stages, their_stages, their_transform

OURS, THEIRS = "maskline", "torchvision"
AIM = 60.0  # images a second and core
COLLATE, TRANSFORM = "collate", "resize and pad, in the network"


@dataclasses.dataclass
class Side:
    """One pipeline: its stages an image, what it does with a batch, and the processor's seconds of each, a round."""

    stages: Stages
    batch_stage: str
    make_batch: Callable[[list[Any]], object]
    seconds: dict[str, list[float]] = dataclasses.field(default_factory=lambda: defaultdict(list))

    def run(self, indices: list[int]) -> None:
        """Make one batch of these images."""
        spent = dict.fromkeys((*self.stages, self.batch_stage), 0.0)
        items = []
        for index in indices:
            item: Any = index
            for name, stage in self.stages.items():
                start = time.process_time()
                item = stage(item)
                spent[name] += time.process_time() - start
            items.append(item)
        start = time.process_time()
        self.make_batch(items)
        spent[self.batch_stage] += time.process_time() - start
        for name, value in spent.items():
            self.seconds[name].append(value)

    def timing(self, name: str, warmup: int) -> Timing:
        """All stages together, a round."""
        return Timing(name, tuple(map(sum, zip(*self.seconds.values(), strict=True)))[warmup:])

    def stage_ms(self, warmup: int, batch: int) -> dict[str, float]:
        """Median ms an image of each stage, the first rounds left out."""
        return {name: 1e3 * median(values[warmup:]) / batch for name, values in self.seconds.items()}


def make_sides(dataset: CocoDataset, spec: PreprocessingSpec) -> dict[str, Side]:
    """Both pipelines on one data set, after a check that they find the same objects.

    Raises:
        BenchmarkError: they do not.
    """
    coco, transform = dataset.coco_api(), their_transform(spec)
    size = scaled_size(SIZE, spec.shorter_side_px, spec.longer_side_px, spec.size_rule)
    theirs = their_stages(coco, dataset)
    check_agreement(dataset, theirs)
    return {
        OURS: Side(our_stages(dataset, spec, size), COLLATE, lambda items: our_collate(items, spec)),
        THEIRS: Side(theirs, TRANSFORM, lambda items: transform(*map(list, zip(*items, strict=True)))),
    }


def check_agreement(dataset: CocoDataset, theirs: Stages) -> None:
    """Raise BenchmarkError unless both read the same pixels, boxes and masks from each file."""
    for index in range(len(dataset)):
        image, target = theirs["polygons"](theirs["decode"](index))
        ours = dataset.objects(index)
        same = np.array_equal(np.asarray(image), dataset.image(index)) and np.array_equal(
            ours.masks, target["masks"].numpy()
        )
        if not same or not np.allclose(ours.boxes, target["boxes"].numpy(), atol=1e-3):
            raise BenchmarkError(f"{dataset[index].file_name}: the two sides read other pixels, boxes or masks")


def run(*, images: int, objects: int, batch: int, warmup: int, rounds: int, console: Console) -> dict[str, Any]:
    """Make the files, check, time and print; returns the JSON-ready result."""
    torch.set_num_threads(1)
    head = describe(1)
    print_head(console, "T2 training items, one core", head)
    spec = PreprocessingSpec()
    with tempfile.TemporaryDirectory(prefix="maskline-train-data-") as folder, console.status("making files") as status:
        root = make_folder(Path(folder), images, objects)
        kb = file_kb(root)
        sides = make_sides(CocoDataset(root, "train"), spec)

        def call(side: Side) -> Callable[[int], None]:
            return lambda number: side.run([(number * batch + i) % images for i in range(batch)])

        calls = {name: call(side) for name, side in sides.items()}
        wall = interleave(calls, warmup=warmup, rounds=rounds, tell=status.update)
    timings = {name: side.timing(name, warmup) for name, side in sides.items()}
    stages = {name: side.stage_ms(warmup, batch) for name, side in sides.items()}
    result = {
        **head,
        "benchmark": "T2 training items of one core, JPEG and polygons in, 800x1088 out",
        "setting": {
            "original": list(SIZE), "images": images, "objects": objects, "batch": batch, "file_kb": kb,
            "warmup_rounds": warmup,
        },
        "stage_ms": stages,
        "images_per_second": {name: batch / timing.median for name, timing in timings.items()},
        "torchvision_images_per_second_without_the_networks_part": 1e3 / sum(
            ms for stage, ms in stages[THEIRS].items() if stage != TRANSFORM
        ),
        "timings": {name: timing.to_dict() for name, timing in timings.items()},
        "wall_median_s": {name: timing.median for name, timing in wall.items()},
        "ratio_of_medians": timings[THEIRS].median / timings[OURS].median,
        "median_of_ratios": paired_ratio(timings[THEIRS], timings[OURS]),
        "aim_images_per_second": AIM,
    }  # fmt: skip
    show(console, result)
    return result


def show(console: Console, result: dict[str, Any]) -> None:
    """The stages of both sides, and what they come to."""
    setting = result["setting"]
    console.print(
        f"{setting['images']} JPEGs of {SIZE[0]}x{SIZE[1]}, {setting['file_kb']:.0f} kB each, {setting['objects']} "
        f"polygons an image; batches of {setting['batch']}; ms an image, medians of "
        f"{result['timings'][OURS]['repetitions']} rounds",
        highlight=False,
    )
    table = Table(title="one core", title_justify="left")
    for heading in ("side", "stage", "ms an image"):
        table.add_column(heading, justify="right" if heading.startswith("ms") else "left")
    for side, stages in result["stage_ms"].items():
        for stage, ms in stages.items():
            table.add_row(side, stage, f"{ms:.2f}")
        table.add_row(side, "all", f"{1e3 / result['images_per_second'][side]:.2f}", end_section=True)
    console.print(table)
    ours, theirs = (result["images_per_second"][side] for side in (OURS, THEIRS))
    alone = result["torchvision_images_per_second_without_the_networks_part"]
    console.print(
        f"{OURS}: {ours:.1f} images a second and core (aimed at {AIM:g}); {THEIRS}: {theirs:.1f}, "
        f"or {alone:.1f} without what it does in the network",
        highlight=False,
    )
    console.print(
        f"[bold]{OURS} is {result['ratio_of_medians']:.2f} times as fast as {THEIRS}[/bold] "
        f"(medians; by rounds {result['median_of_ratios']:.2f})"
    )


def main(
    images: Annotated[int, typer.Option(min=1, help="Files in the made folder.")] = 20,
    objects: Annotated[int, typer.Option(min=1, help="Polygons an image.")] = OBJECTS,
    batch: Annotated[int, typer.Option(min=1, help="Images a batch, and a round.")] = 8,
    rounds: Annotated[int, typer.Option(min=1, help="Counted batches of each side.")] = 15,
    warmup: Annotated[int, typer.Option(min=0, help="Uncounted batches of each side.")] = 2,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file.")] = None,
) -> None:
    """Time one core's production of training items against torchvision's reference pipeline, in turn.

    Example: python -m maskline_bench.train_data --rounds 15 --json out/train_data.json
    """
    with in_one_line("bench-data"):
        result = run(images=images, objects=objects, batch=batch, warmup=warmup, rounds=rounds, console=Console())
    if json_file is not None:
        write_json(json_file, result)


if __name__ == "__main__":
    typer.run(main)
