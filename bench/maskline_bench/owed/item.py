"""One thing that a GPU has to show: its script, its limits, and what the results in docs/benchmarks say of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from maskline_bench.errors import BenchmarkError

Result = Mapping[str, Any]
Outcome = Literal["shown", "missed", "owed"]
CARD = "{card}"  # in the name of a result's file


@dataclasses.dataclass(frozen=True)
class Limit:
    """A figure of a result and where it has to lie.

    Attributes:
        what: in words, with the unit.
        read: takes the figure out of a result.
        at_least: the aim, or None.
        at_most: the aim, or None; one of the two is given.
    """

    what: str
    read: Callable[[Result], float]
    at_least: float | None = None
    at_most: float | None = None

    @property
    def aim(self) -> str:
        """In words."""
        return f"at least {self.at_least:g}" if self.at_least is not None else f"at most {self.at_most:g}"

    def holds(self, figure: float) -> bool:
        """Whether the figure lies there; a NaN lies nowhere."""
        return figure >= self.at_least if self.at_least is not None else figure <= (self.at_most or 0)


@dataclasses.dataclass(frozen=True)
class Item:
    """A claim and how it is shown.

    Attributes:
        name: of the item, and of its log.
        claim: one line.
        needs: names of what the machine must have (machine.py).
        module: what `python -m` runs; it takes --json.
        arguments: on a GPU.
        trial: arguments of the run on a CPU and a tiny network, which shows nothing but that the script runs.
        file: of the result, inside docs/benchmarks, with `{card}`.
        limits: where its figures have to lie.
        minutes: the most it may take.
    """

    name: str
    claim: str
    needs: tuple[str, ...]
    module: str
    arguments: tuple[str, ...]
    trial: tuple[str, ...]
    file: str
    limits: tuple[Limit, ...]
    minutes: int = 8


@dataclasses.dataclass(frozen=True)
class State:
    """What is known of an item.

    Attributes:
        outcome: `shown`: every limit holds; `missed`: run, and one does not; `owed`: no GPU has run it.
        when: date of the newest result; empty: none.
        card: the GPU.
        file: the result, inside docs/benchmarks.
        figures: of each limit.
    """

    outcome: Outcome
    when: str = ""
    card: str = ""
    file: str = ""
    figures: tuple[float, ...] = ()


def state_of(item: Item, results: Path) -> State:
    """The newest result's.

    Args:
        item: what is asked for.
        results: docs/benchmarks, or a copy.

    Raises:
        BenchmarkError: a file lacks what the item reads.
    """
    files = {path: _load(path) for path in sorted(results.glob(item.file.replace(CARD, "*")))}
    found = [(path, result) for path, result in files.items() if on_gpu(result)]
    if not found:
        return State("owed")
    path, result = max(found, key=lambda each: when_of(each[1]))
    try:
        figures = tuple(float(limit.read(result)) for limit in item.limits)
        when, card = when_of(result), card_of(result)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise BenchmarkError(
            f"{path}: expected the figures of `{item.name}`, got none at {error!r}; run it again"
        ) from error
    held = all(limit.holds(figure) for limit, figure in zip(item.limits, figures, strict=True))
    return State("shown" if held else "missed", when, card, path.relative_to(results).as_posix(), figures)


def when_of(result: Result) -> str:
    """The day, YYYY-MM-DD."""
    return str(result["when"])[:10]


def on_gpu(result: Result) -> bool:
    """Whether a GPU made it, at full size."""
    return "gpu" in result.get("gpu", result)["machine"] and not result.get("quick", False)


def card_of(result: Result) -> str:
    """The GPU's name as the driver gives it."""
    return str(result.get("gpu", result)["machine"]["gpu"])


def card_slug(name: str) -> str:
    """A GPU's name in the name of a file: `NVIDIA H100 80GB HBM3` is h100, `NVIDIA GeForce RTX 4090` rtx-4090."""
    words = name.lower().replace("nvidia", "").replace("geforce", "").split()
    number = next((index for index, word in enumerate(words) if any(letter.isdigit() for letter in word)), 0)
    return "-".join(words[: number + 1] or ["gpu"]).replace("/", "-")


def _load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
