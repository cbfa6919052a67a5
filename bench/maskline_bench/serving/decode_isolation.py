"""What decoding in processes of their own adds to an image: against the same work in one process, in turn.

Run: python -m maskline_bench.serving.decode_isolation --json out/decode_isolation.json
"""

from __future__ import annotations

import io
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import psutil
import skimage.data
import typer
from maskline_serve.repository.assemble import sources
from maskline_serve.repository.config import parse
from PIL import Image
from rich.console import Console
from rich.table import Table

from maskline_bench.errors import BenchmarkError, in_one_line
from maskline_bench.measure import describe
from maskline_bench.model_files import load
from maskline_bench.result_file import write_json

Decode = Callable[[bytes], Any]
SIZES = {"256x256": (256, 256), "12 megapixels": (3000, 4000)}
AT_A_TIME = (1, 4)
# At most, of an image: below 4 % of the 27 ms that each of four processes has for one at 145 images a second, which is
# what a server on one H100 was seen to answer.
BUDGET_MS = 1.0
_WARM_UP = 2
_THREADS = min(4, os.cpu_count() or 1)  # as the model has
_HEADINGS = ("one process", "apart", "added")


def measure(rounds: int, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """A row a size and number: wall and processor milliseconds an image of each side, medians, and what is added.

    Raises:
        BenchmarkError: no process can be started, or a picture is another one.
    """
    rows = []
    with _sides() as sides, ThreadPoolExecutor(_THREADS) as threads:
        for name, size in SIZES.items():
            file = _photograph(size)
            if len({decode(file)[0].tobytes() for decode in sides}) != 1:
                raise BenchmarkError(f"{name}: got another picture from a process of its own")
            for number in AT_A_TIME:
                seconds = _in_turn(sides, [file] * number, rounds, threads)
                rows.append({"file": name, "bytes": len(file), "at_a_time": number, **_figures(seconds, number)})
                tell(f"{name}, {number} at a time: {rounds} rounds done")
    return rows


def _in_turn(
    sides: tuple[Decode, Decode], files: list[bytes], rounds: int, threads: ThreadPoolExecutor
) -> list[list[tuple[float, float]]]:
    """Wall and processor seconds of each side in each round."""
    found: list[list[tuple[float, float]]] = [[], []]
    for number in range(_WARM_UP + rounds):
        for decode, seconds in zip(sides, found, strict=True):
            others = [child.pid for child in psutil.Process().children()]
            wall, processor = time.perf_counter(), _processor_s(others)
            list(threads.map(decode, files) if len(files) > 1 else map(decode, files))
            if number >= _WARM_UP:
                seconds.append((time.perf_counter() - wall, _processor_s(others) - processor))
    return found


def _processor_s(others: list[int]) -> float:
    """Processor time of this process and of others.

    By the clock of a process, <linux/posix-timers.h>: psutil's own figure is in hundredths of a second.
    """
    return time.process_time() + sum(time.clock_gettime((~pid << 3) | 2) for pid in others)


def _figures(seconds: list[list[tuple[float, float]]], number: int) -> dict[str, dict[str, float]]:
    """Milliseconds an image."""
    found = {}
    for at, kind in enumerate(("wall_ms", "processor_ms")):
        here, apart = (1000 * statistics.median(each[at] for each in side) / number for side in seconds)
        found[kind] = dict(zip(_HEADINGS, (here, apart, apart - here), strict=True))
    return found


@contextmanager
def _sides() -> Iterator[tuple[Decode, Decode]]:
    """What decodes in this process, and in others, with the parameters of the baseline."""
    path = sources()[0] / "preprocess" / "config.pbtxt"
    config = parse(path.read_text(encoding="utf-8"), path)
    parameters = {key: value.string_value for key, value in config.parameters.items()}
    images, filters, pool, process = (
        load("preprocess", name) for name in ("images", "filters", "decoder.pool", "decoder.process")
    )
    geometry, limits = images.geometry_of(parameters), images.limits_of(parameters)
    resize, _ = filters.choose(parameters["resize_filter"])
    try:
        processes = pool.DecoderPool(_THREADS, parameters, print)
    except process.DecoderError as error:
        raise BenchmarkError(str(error)) from error
    try:
        yield lambda file: images.prepare(file, geometry, limits, resize), processes.decode
    finally:
        processes.close()


def _photograph(size: tuple[int, int]) -> bytes:
    """A photograph as a JPEG of quality 90; size: (height, width)."""
    file = io.BytesIO()
    picture = Image.fromarray(skimage.data.astronaut())
    picture.resize(size[::-1], Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """The table."""
    table = Table(title="milliseconds an image, medians; wall | processor", title_justify="left")
    for heading in ("file", "at a time", *_HEADINGS):
        table.add_column(heading, justify="left" if heading == "file" else "right")
    for row in rows:
        cells = (f"{row['wall_ms'][name]:.2f} | {row['processor_ms'][name]:.2f}" for name in _HEADINGS)
        table.add_row(row["file"], str(row["at_a_time"]), *cells)
    console.print(table)
    worst = {kind: max(row[f"{kind}_ms"]["added"] for row in rows) for kind in ("wall", "processor")}
    console.print(
        f"at most {worst['wall']:.2f} ms more an image, {worst['processor']:.2f} ms of a processor; "
        f"the budget is {BUDGET_MS:.0f} ms"
    )


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Of each side, in turn.")] = 21,
    json_file: Annotated[Path | None, typer.Option("--json", help="A file to write too.")] = None,
) -> None:
    """Time what decoding in processes of their own adds to an image.

    Example: python -m maskline_bench.serving.decode_isolation --rounds 21
    """
    with in_one_line("decode_isolation"):
        head = describe(_THREADS)
        rows = measure(rounds, Console(stderr=True).print)
        show(rows, Console(width=None if sys.stdout.isatty() else 120))
        if json_file is not None:
            write_json(json_file, {**head, "rounds": rounds, "rows": rows})


if __name__ == "__main__":
    typer.run(main)
