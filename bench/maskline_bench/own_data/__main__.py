"""`python -m maskline_bench.own_data`: sets from labelled pictures to a served answer, other recipes beside."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from maskline_bench.errors import in_one_line
from maskline_bench.owed.task import head
from maskline_bench.own_data.by_hand import TRIES, recipe_by_hand, train_by_hand
from maskline_bench.own_data.journey import last_score, to_a_served_answer
from maskline_bench.own_data.sets import write_coins, write_nuclei
from maskline_bench.result_file import write_json

Name = Literal["nuclei", "coins"]


def main(
    wheel: Annotated[Path, typer.Argument(help="stardist's wheel: pip download --no-deps stardist")],
    out: Annotated[Path, typer.Option(help="Folder for sets, runs and repositories; new.")],
    json_file: Annotated[Path, typer.Option("--json", help="The file to write.")],
    minutes: Annotated[float, typer.Option(min=0.1, help="Of each training.")] = 3.0,
    only: Annotated[list[Name], typer.Option("--set", help="Which sets; may be given twice.")] = ["nuclei", "coins"],  # noqa: B006
) -> None:
    """Time the way from pictures and masks to a served answer, and train by other recipes for as long.

    Example: python -m maskline_bench.own_data stardist-0.9.2-*.whl --out out/own_data --json out/own_data.json
    """
    say = Console(stderr=True, markup=False, highlight=False).print
    out.mkdir(parents=True)
    content: dict[str, Any] = {**head("cpu"), "minutes": minutes, "sets": {}}
    sets: dict[Name, Callable[[Path], None]] = {"nuclei": lambda path: write_nuclei(wheel, path), "coins": write_coins}
    for name in only:
        write = sets[name]
        place = out / name
        write(place / "labelled")
        found: dict[str, Any] = {"by_hand": {}}
        content["sets"][name] = found
        found["journey"] = to_a_served_answer(place, name, minutes, say)
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
