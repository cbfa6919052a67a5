"""`maskline-train`: data, training, evaluation, pictures."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from maskline_command.console import results, waiting
from maskline_command.ending import ending
from maskline_command.output_files import refuse_unwritable
from maskline_command.streams import ReaderGone
from maskline_command.tile_options import Overlap, Tiles
from maskline_command.version import version_option
from maskline_show.picture import ColourBy
from rich.console import Console

from maskline_train.convert.command import import_command
from maskline_train.data.check.command import check_command
from maskline_train.data.convert.command import convert_command
from maskline_train.data.tiles.command import tiles_command
from maskline_train.new.command import new_command
from maskline_train.options import Data, Kind, RecipeName, TotalBatch, TrainSplit, ValSplit
from maskline_train.paper.commands import (
    ablate_command,
    cityscapes_command,
    distil_command,
    four_step_command,
    show_cityscapes,
    show_metrics,
    tables_command,
)

app = typer.Typer(
    help="Train and evaluate Mask R-CNN on COCO-format data.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
data_app = typer.Typer(help="Make and check data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@app.callback()
def _common(
    version: Annotated[bool, version_option("maskline-train")] = False,
) -> None:
    """What every command takes."""


@app.command("fit")
def fit_command(
    recipe: RecipeName,
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoints, metrics, pictures, report.")],
    train_split: TrainSplit = "train",
    val_split: ValSplit = "val",
    annotations: Kind = "instances",
    init: Annotated[
        Path | None, typer.Option(help="Start from a checkpoint folder, or a file of ResNet or model weights.")
    ] = None,
    keep_network: Annotated[
        bool,
        typer.Option(
            "--keep-network", help="With --init CHECKPOINT: its network and conventions, trained as the recipe trains."
        ),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from OUT/last; begin where there is none yet.")
    ] = False,
    steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many steps instead of the recipe's.")] = None,
    total_batch: TotalBatch = None,
) -> None:
    """Train a model by a recipe.

    Ctrl-C finishes the step and writes a checkpoint; `--resume` goes on as if nothing had happened.

    Example: maskline-train fit digits_demo --data out/digits --out out/run
    An imported network: maskline-train fit mask_rcnn_r50_fpn --data mine --out out/run --init out/mine --keep-network
    With GPUs: torchrun --nproc-per-node 8 -m maskline_train.cli fit mask_rcnn_r50_fpn --data coco --out out/r50 ...
    """
    from maskline_train.data.coco import CocoDataset
    from maskline_train.distributed import process_group
    from maskline_train.fit import fit
    from maskline_train.recipes import load_recipe
    from maskline_train.report.run import read_run
    from maskline_train.report.write import write_report
    from maskline_train.starting_weights import network_of
    from maskline_train.training.interruption import Interrupted

    build = load_recipe(recipe)
    with waiting(f"reading {data}"):
        train_set, val_set = (CocoDataset(data, split, annotations) for split in (train_split, val_split))
    chosen = build(train_set.classes).adjusted(steps, total_batch)
    if keep_network:
        chosen = dataclasses.replace(chosen, model=network_of(init, train_set.classes))
    started = time.perf_counter()
    with process_group() as processes:
        try:
            metrics = fit(chosen, train_set, val_set, out, processes, init=init, resume=resume)
        except Interrupted as stop:
            if processes.is_main:
                _say(f"{stop}; {out / 'last'} holds it. {_how_to_resume(processes.world)}")
            raise typer.Exit(stop.exit_code) from None
    if processes.is_main and metrics is None:
        _say(
            f"{out}: this run is finished; its checkpoints are {out / 'last'} and {out / 'best'}; "
            f"its report anew: {_evaluate_again(out / 'last', data, val_split, annotations)}"
        )
    if processes.is_main and metrics is not None:
        run = read_run(out, recipe, time.perf_counter() - started)
        with waiting("drawing the report"):
            write_report(out / "report.html", val_set, metrics, run, str(out / "last"), numbers_too=True)
        with contextlib.suppress(ReaderGone):  # the run is whole without a reader
            typer.echo(f"report: {out / 'report.html'}")
    if processes.is_main:
        _say(f"Next: maskline ship {shlex.quote(str(out / 'best'))} repository && maskline-serve run repository")


@app.command("evaluate")
def evaluate_command(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint folder, e.g. out/run/best.")],
    data: Data,
    split: Annotated[str, typer.Option(help="The split to evaluate on.")] = "val",
    annotations: Kind = "instances",
    json_out: Annotated[
        Path | None, typer.Option("--json", help="Also write the metrics and all COCO results to this file.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Also write a page here: figures by class, confusions, worst images, misses.")
    ] = None,
    max_images: Annotated[int | None, typer.Option(min=1, help="Only the first so many images.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images of one forward pass; one with canvas_multiple.")] = 4,
    tta: Annotated[
        bool, typer.Option("--tta", help="Test-time augmentation: nine scales, mirrored too, 20 times the work.")
    ] = False,
    rpn: Annotated[
        Path | None, typer.Option(help="Another checkpoint whose proposals are used, e.g. OUT/1-rpn/last.")
    ] = None,
    cityscapes: Annotated[
        Path | None, typer.Option(help="Cityscapes, which the data were made of: score by its protocol too.")
    ] = None,
    overlaps: Annotated[
        Path | None, typer.Option(help="Compare masks of objects that overlap others with those alone; draw some here.")
    ] = None,
    tiles: Tiles = None,
    overlap: Overlap = None,
) -> None:
    """Print the average precision of a checkpoint, by pycocotools.

    Ctrl-C ends it after the batch, and a second one at once; nothing is written then.

    Example: maskline-train evaluate out/run/best --data out/digits --json out/ap.json
    """
    from maskline_train.checkpoint import load_model
    from maskline_train.data.coco import CocoDataset
    from maskline_train.distributed import process_group
    from maskline_train.evaluation.by_tiles import detect_by_tiles, tiling_of
    from maskline_train.evaluation.cityscapes_metric import score_cityscapes
    from maskline_train.evaluation.many_views import PAPER_VIEWS
    from maskline_train.evaluation.shown import evaluate_shown
    from maskline_train.paper.overlaps import as_rich as overlaps_as_rich
    from maskline_train.paper.overlaps import draw_overlaps, score_overlaps
    from maskline_train.report.run import run_of
    from maskline_train.report.write import write_report
    from maskline_train.training.stage import detect_with

    if sum((tta, rpn is not None, tiles is not None)) > 1:
        raise ValueError("got more than one of --tta, --rpn and --tiles, expected one of them; each is a way to look")
    refuse_unwritable(json_out, report, overlaps)
    with waiting(f"reading {data}"):
        dataset = CocoDataset(data, split, annotations)
        dataset.check_headers(range(len(dataset))[:max_images])
    model = load_model(checkpoint)
    with process_group() as processes:
        model = model.to(processes.device)
        tiling = tiling_of(tiles, overlap)
        by_tiles = tiling and functools.partial(detect_by_tiles, model, tiling, dataset.category_ids)
        detect = None if rpn is None else detect_with(load_model(rpn).to(processes.device), model)
        metrics = evaluate_shown(
            model,
            dataset,
            processes,
            f"evaluate {split}",
            batch=batch,
            max_images=max_images,
            detect=detect,
            views=PAPER_VIEWS if tta else (),
            results_in=by_tiles,
        )
    if not processes.is_main:
        return
    content = {"checkpoint": str(checkpoint), "split": split, **metrics.to_dict()}
    _write_metrics(json_out, content)  # before what may fail of the rest, and after it anew
    show_metrics(f"{checkpoint} on {split}", metrics)
    if cityscapes is not None:
        found = score_cityscapes(dataset, metrics.results, dataset.image_ids[: metrics.num_images], cityscapes)
        show_cityscapes(found)
        content["cityscapes"] = dataclasses.asdict(found)
    if overlaps is not None:
        draw_overlaps(overlaps, dataset, metrics.results, metrics.num_images)
        groups = score_overlaps(dataset, metrics.results, metrics.num_images)
        results().print(overlaps_as_rich(groups))
        content["overlaps"] = {name: dataclasses.asdict(group) for name, group in groups.items()}
    _write_metrics(json_out, content)
    if report is not None:
        with waiting("drawing the report"):
            write_report(report, dataset, metrics, run_of(checkpoint), str(checkpoint))
        typer.echo(f"report: {report}")


def _write_metrics(path: Path | None, content: dict[str, Any]) -> None:
    """Write the file of `--json`, if it was asked for."""
    from maskline_train.files import replace_file

    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, (json.dumps(content) + "\n").encode())


@app.command("predict")
def predict_command(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint folder, e.g. out/run/best.")],
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders with images.")],
    out: Annotated[Path, typer.Option(help="Folder for the drawn pictures.")],
    score: Annotated[float, typer.Option(min=0, max=1, help="Draw detections from this score on.")] = 0.5,
    colours: Annotated[
        ColourBy, typer.Option(help="What has a colour of its own in a drawn picture: a class, or an object.")
    ] = "class",
    tiles: Tiles = None,
    overlap: Overlap = None,
) -> None:
    """Draw what a checkpoint finds in images, as `maskline-client detect` draws.

    Example: maskline-train predict out/run/best photo.jpg --out out/pictures
    """
    from maskline_train.checkpoint import load_model
    from maskline_train.distributed import process_group
    from maskline_train.evaluation.by_tiles import tiling_of
    from maskline_train.evaluation.predict import predict_files

    tiling = tiling_of(tiles, overlap)
    with process_group() as processes:
        model = load_model(checkpoint).to(processes.device)
        for line in predict_files(model, images, out, score, processes.device, colours, tiling):
            typer.echo(line)


@app.command("recipes")
def recipes_command() -> None:
    """List the packaged recipes.

    Example: maskline-train recipes
    """
    from maskline_train.recipes import recipe_names

    names = recipe_names()
    width = max(map(len, names))
    for name, line in names.items():
        typer.echo(f"{name:{width}} {line}")


app.command("new")(new_command)
app.command("import")(import_command)
app.command("ablate")(ablate_command)
app.command("tables")(tables_command)


@data_app.command("digits")
def digits_command(
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    seed: Annotated[int, typer.Option(min=0, help="Another seed makes another set.")] = 0,
    train_images: Annotated[int, typer.Option(min=1, help="Images of the train split.")] = 2000,
    val_images: Annotated[int, typer.Option(min=1, help="Images of the val split.")] = 200,
    scale: Annotated[int, typer.Option(min=1, max=8, help="Pictures of 256 px times this, and their digits.")] = 1,
) -> None:
    """Make a COCO-format set of handwritten digits on photographs, from images that scikit-learn and scikit-image ship.

    Example: maskline-train data digits out/digits
    """
    from maskline_train.data.made.digits import make_digits

    make_digits(out, seed=seed, train_images=train_images, val_images=val_images, scale=scale)


@data_app.command("figures")
def figures_command(
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    seed: Annotated[int, typer.Option(min=0, help="Another seed makes another set.")] = 0,
    train_images: Annotated[int, typer.Option(min=1, help="Images of the train split.")] = 1000,
    val_images: Annotated[int, typer.Option(min=1, help="Images of the val split.")] = 100,
) -> None:
    """Make a set of stick figures with keypoints on photographs, in the format of COCO's person_keypoints files.

    Example: maskline-train data figures out/figures
    Then: maskline-train fit figures_keypoints --data out/figures --annotations person_keypoints --out out/run
    """
    from maskline_train.data.made.figures import make_figures

    make_figures(out, seed=seed, train_images=train_images, val_images=val_images)


data_app.command("check")(check_command)
data_app.command("cityscapes")(cityscapes_command)
data_app.command("convert")(convert_command)
data_app.command("tiles")(tiles_command)
app.command("four-step")(four_step_command)
app.command("distil")(distil_command)


def _evaluate_again(checkpoint: Path, data: Path, split: str, annotations: str) -> str:
    """The command that makes a run's report without training."""
    words = ["maskline-train", "evaluate", checkpoint, "--data", data, "--split", split, "--annotations", annotations]
    return shlex.join(map(str, [*words, "--report", checkpoint.parent / "report.html"]))


def _how_to_resume(num_processes: int) -> str:
    if num_processes > 1:
        return "Resume: the same command with --resume"
    words = [word for word in sys.argv[1:] if word != "--resume"]
    return f"Resume: maskline-train {shlex.join(words)} --resume"


def _say(text: str) -> None:
    Console(stderr=True, markup=False, emoji=False, soft_wrap=True, highlight=False).print(text)


def main() -> None:
    """Run the command line."""
    with ending("maskline-train", extra="train"):
        app()


if __name__ == "__main__":
    main()
