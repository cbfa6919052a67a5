"""The command `maskline-client`: detect, evaluate, predict, bench, compare, page, health.

A failure is one line on stderr; exit codes: 1 the server failed, 2 wrong usage or bad input, 3 server unavailable or
full, 4 another contract, 5 deadline.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Annotated, Literal

import typer
from maskline_command.console import results as results_console
from maskline_command.ending import ending
from maskline_command.output_files import refuse_unwritable
from maskline_command.tile_options import Overlap, Tiles, check_tile_options
from maskline_command.version import version_option
from maskline_show.picture import ColourBy
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table
from rich.text import Text

from maskline_client.bench.cli import bench
from maskline_client.commands.connection_options import with_connection
from maskline_client.commands.detect import JSON_NAME, Report, common_folder, plan, run
from maskline_client.commands.progress import progress as progress_bar
from maskline_client.compare.cli import compare
from maskline_client.connection import Connection
from maskline_client.contract import DEFAULT_MODEL
from maskline_client.detector import IN_FLIGHT, Detector, ImageDetector
from maskline_client.errors import ClientError
from maskline_client.files import write_json
from maskline_client.images import list_images
from maskline_client.page.cli import page
from maskline_client.tiled.detector import TiledDetector

app = typer.Typer(
    name="maskline-client",
    help="Find objects with a served Mask R-CNN. Exit codes: 1 the server failed, 2 wrong usage or bad input, "
    "3 server unavailable or full, 4 another contract, 5 deadline.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(bench)
app.command()(compare)
app.command()(page)


@app.callback()
def _common(
    version: Annotated[bool, version_option("maskline-client")] = False,
) -> None:
    """What every command takes."""


InFlight = Annotated[int, typer.Option(min=1, help="Requests under way at a time.")]
Model = Annotated[str, typer.Option(help="The served model's name.")]
NoMasks = Annotated[bool, typer.Option("--no-masks", help="Boxes alone: no masks, no keypoints, and their time saved.")]
Local = Annotated[
    Path | None,
    typer.Option(
        readable=False, metavar="ARTIFACT", help="No server: the model of this artifact or repository, in this process."
    ),
]
Device = Annotated[Literal["cpu", "cuda"], typer.Option(help="What --local computes on.")]

_out = results_console()
_err = Console(stderr=True, markup=False, emoji=False)


@app.command()
@with_connection()
def detect(
    connection: Connection,
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders with images.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the drawn pictures and detections.json (COCO).")] = None,
    score_thresh: Annotated[float, typer.Option(min=0, max=1, help="Lowest score to show, draw and write.")] = 0.5,
    in_flight: InFlight = IN_FLIGHT,
    json_lines: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON an image, as `predict` writes.")
    ] = False,
    no_masks: NoMasks = False,
    colours: Annotated[
        ColourBy, typer.Option(help="What has a colour of its own in a drawn picture: a class, or an object.")
    ] = "class",
    tiles: Tiles = None,
    overlap: Overlap = None,
    model: Model = DEFAULT_MODEL,
    local: Local = None,
    device: Device = "cpu",
) -> None:
    """Find the objects of images: print them, draw them, write them as COCO JSON.

    A terminal gets a table; a pipe or a file a line an object, its columns parted by tabs. An image that is refused is
    named on stderr; the others are done, and the command then exits with 2.

    Example: maskline-client detect photo.jpg holiday/ --out out/found --score-thresh 0.7
    Without a server: maskline-client detect photo.jpg --local out/artifact --out out/found
    Small objects in large images: maskline-client detect aerial.jpg --tiles 512 --out out/found
    """
    jobs = plan(images, out)
    with _detector(connection, model, local, device) as single, progress_bar() as progress:
        served = single.model.boxes_alone() if no_masks else single.model
        task = progress.add_task("detect", total=len(jobs))
        detector, at_once = _by_tiles(single, tiles, overlap, in_flight, progress, task)
        report = run(
            detector,
            served,
            jobs,
            score_thresh,
            at_once,
            lambda: progress.advance(task),
            masks=not no_masks,
            colour_by=colours,
        )
    written = out if report.answers else None  # of nothing but refused images there is nothing to write
    if written is not None:  # first, so that the file is there whatever becomes of what is printed
        write_json(written / JSON_NAME, report.to_coco(served, common_folder(images)))
    if json_lines or not _out.is_terminal:
        for line in report.json_lines() if json_lines else report.lines():
            typer.echo(line)
    else:
        _out.print(_found_table(report))
    if written is not None:
        (_err if json_lines else _out).print(
            f"{len(report.answers)} drawn pictures and {JSON_NAME} in {written}",
            soft_wrap=True,
        )
    for error in report.errors:
        _fail(str(error))
    if report.errors:
        raise typer.Exit(2)


@app.command()
@with_connection()
def evaluate(
    connection: Connection,
    data: Annotated[Path, typer.Option(help="Data folder: annotations/instances_SPLIT.json and SPLIT/.")] = Path(
        "data"
    ),
    split: Annotated[str, typer.Option(help="Which split, e.g. val or val2017.")] = "val",
    annotations: Annotated[
        str, typer.Option(help="annotations/KIND_SPLIT.json; with keypoints: person_keypoints.")
    ] = "instances",
    json_path: Annotated[Path | None, typer.Option("--json", help="JSON file for the numbers.")] = None,
    results: Annotated[Path | None, typer.Option(help="JSON file for all detections as COCO results.")] = None,
    max_images: Annotated[int | None, typer.Option(min=1, help="Only the first so many images, by id.")] = None,
    in_flight: InFlight = IN_FLIGHT,
    tiles: Tiles = None,
    overlap: Overlap = None,
    model: Model = DEFAULT_MODEL,
    local: Local = None,
    device: Device = "cpu",
) -> None:
    """Send a COCO-format split through the server and print its average precision: boxes, masks, keypoints.

    There is no score where an image fails: it is named, and the detections of the others are in RESULTS.partial.json.

    Example: maskline-client evaluate --data data/digits --split val --json out/ap.json
    """
    # Here, not above: only this command needs pycocotools.
    try:
        import pycocotools  # noqa: F401
    except ModuleNotFoundError as error:
        raise ValueError(f"{error}, expected it for this command; `pip install pycocotools`") from error
    from maskline_coco.metric import STATISTICS

    from maskline_client.commands import evaluate as evaluation

    refuse_unwritable(json_path, results)
    part = evaluation.read_split(data, split, max_images, annotations)
    with _detector(connection, model, local, device) as single, progress_bar() as progress:
        served = single.model
        evaluation.check_keypoints(part, served)
        unknown = evaluation.unknown_names(part, served.classes)
        if unknown:
            _fail(f"note: the model does not know {len(unknown)} classes of the data, AP 0 each: {', '.join(unknown)}")
        task = progress.add_task(f"evaluate {split}", total=len(part.image_ids))
        detector, at_once = _by_tiles(single, tiles, overlap, in_flight, progress, task)
        answers = evaluation.Answers()
        try:
            evaluation.collect(detector, served, part, answers, at_once, lambda: progress.advance(task))
        finally:  # before the score, and after Ctrl-C: what was received is there whatever comes
            part_text = evaluation.write_results(results, part, answers)
            if part_text:
                _fail(part_text)
    for failed in answers.errors:
        _fail(str(failed))
    if answers.errors:
        raise typer.Exit(2)
    scores = evaluation.score(part, answers.results, masks=served.has_masks, keypoints=served.keypoints)
    if json_path is not None:
        write_json(json_path, {**dataclasses.asdict(scores), "model": dataclasses.asdict(served.identity)})
    table = Table("", *STATISTICS, title=f"AP x 100, {scores.num_images} images of {split}, served")
    for kind, values in (("box", scores.box), ("mask", scores.mask), ("keypoint", scores.keypoint)):
        if values is not None:
            found = (values.get(name) for name in STATISTICS)
            table.add_row(kind, *("-" if value is None else f"{100 * value:.2f}" for value in found))
    _out.print(table)


@app.command()
@with_connection()
def predict(
    connection: Connection,
    folder: Annotated[Path, typer.Argument(help="Folder with images, folders in it included.")],
    out: Annotated[Path, typer.Option(help="Folder for predictions-*.jsonl.")],
    shard_lines: Annotated[int, typer.Option(min=1, help="Images a JSONL file.")] = 1000,
    in_flight: InFlight = IN_FLIGHT,
    no_masks: NoMasks = False,
    model: Model = DEFAULT_MODEL,
    local: Local = None,
    device: Device = "cpu",
) -> None:
    """Write the detections of a folder of images as JSON lines; run it again after a stop, and it goes on from there.

    Images that the server refuses become lines with their error; those that cannot be read are named, and the next run
    tries them again.

    Example: maskline-client predict photos/ --out out/predictions --in-flight 16
    """
    from maskline_client.commands import predict as prediction

    if not folder.is_dir():
        raise ValueError(f"{folder}: got no folder of that name, expected one with images")
    paths = list_images(folder)
    with _detector(connection, model, local, device) as detector, progress_bar() as progress:
        served = detector.model.boxes_alone() if no_masks else detector.model
        shards = prediction.Shards(out, served, shard_lines)
        done = sum(path.relative_to(folder).as_posix() in shards.done for path in paths)
        task = progress.add_task("predict", total=len(paths), completed=done)
        advance = functools.partial(progress.advance, task)
        result = prediction.predict(detector, folder, paths, shards, in_flight, advance, masks=not no_masks)
    _out.print(
        f"{result.predicted} images predicted, {result.refused} refused, {result.done_before} were done before; "
        f"lines in {out}",
        soft_wrap=True,
    )
    for text in result.unread:
        _fail(text)
    if result.unread:
        raise typer.Exit(2)


@app.command()
@with_connection(deadline_s=10.0)
def health(
    connection: Connection,
    deep: Annotated[bool, typer.Option("--deep", help="Also send a test picture and check its answer.")] = False,
    model: Annotated[str | None, typer.Option(help="Ask about this model alone; else about each one served.")] = None,
) -> None:
    """Ask a server, or several, whether they can answer; exits with the code of the first thing that is wrong.

    Example: maskline-client health --url 127.0.0.1:8001 --deep
    """
    from maskline_client.commands.health import check_server

    first: ClientError | None = None
    for address in connection.each():
        table = Table("", "check", "ms", "found", title=address.url, title_justify="left")
        for check in check_server(address, deep=deep, model=model):
            first = first or check.error
            mark = Text("ok", "green") if check.error is None else Text("no", "red")
            table.add_row(mark, check.name, f"{check.duration_ms:.1f}", check.detail)
        _out.print(table)
    if first is not None:
        raise first


def main() -> None:
    """Run the command line."""
    with ending("maskline-client", extra="client", bad_input=2):
        app()


def _by_tiles(
    detector: ImageDetector,
    side: int | None,
    overlap: int | None,
    in_flight: int,
    progress: Progress,
    task: TaskID,
) -> tuple[ImageDetector, int]:
    """What asks, and about how many images at a time: by tiles about one, of whose tiles so many are under way."""
    check_tile_options(side, overlap)
    if side is None:
        return detector, in_flight
    doing = str(progress.tasks[task].description)

    def advance(done: int, total: int) -> None:
        progress.update(task, description=f"{doing} (tile {done} of {total})")

    return TiledDetector(detector, side, overlap, in_flight=in_flight, advance=advance), 1


def _detector(connection: Connection, model: str, local: Path | None, device: Literal["cpu", "cuda"]) -> ImageDetector:
    """A detector for the options that the commands share."""
    if local is None:
        return Detector(connection.url, model=model, deadline_s=connection.deadline_s, tls=connection.tls)
    from maskline_client.local.detector import LocalDetector

    found = LocalDetector(local, device=device)
    name = found.model.identity.name
    if model not in (DEFAULT_MODEL, name):
        found.close()
        raise ValueError(f"--model: got {model}, expected {name}, the model of --local {local}; leave it out")
    return found


def _found_table(report: Report) -> Table:
    """One row an object; the column of the masks where there are some."""
    columns = ["image", "object", "score", "box (x0 y0 x1 y1)"]
    masks = any(answer.detections.rle is not None for answer in report.answers)
    table = Table(*columns, *(["mask px"] if masks else []))
    for answer in report.answers:
        name = str(answer.path)
        if not len(answer.detections):
            table.add_row(name, Text(answer.nothing, "dim"))
        for found in answer.detections:
            box = " ".join(f"{value:.1f}" for value in found.box)
            area = [] if found.rle is None else [str(found.area())]
            table.add_row(name, found.name, f"{found.score:.3f}", box, *area)
            name = ""
    return table


def _fail(text: str) -> None:
    """One line on stderr, whatever the width of the terminal."""
    _err.print(f"maskline-client: {' '.join(text.split())}", style="red", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
