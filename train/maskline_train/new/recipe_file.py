"""The text of a recipe file: what was seen, what was chosen and why, and the command that trains by it."""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path
from typing import NamedTuple

from maskline_command.wording import counted

from maskline_train import recipe as recipes
from maskline_train import spec
from maskline_train.data import transforms
from maskline_train.model import sampling
from maskline_train.new.choose import Chosen
from maskline_train.new.code import WIDTH, constructor
from maskline_train.new.machine import Machine
from maskline_train.new.survey import Survey
from maskline_train.training import schedule

_MOST_CLASSES = 20  # that are listed one by one
# Where the recipe's parts are imported from: the first that knows a name, as the later ones import from the earlier.
_MODULES = (spec, schedule, sampling, transforms, recipes)


class Places(NamedTuple):
    """What the command line says: the set, its splits, the recipe's file, the start, the run's folder.

    `without_gpu`: the command leaves out a GPU that is there.
    """

    data: Path
    train_split: str
    val_split: str
    annotations: str
    recipe: Path
    init: Path
    run: Path
    without_gpu: bool = False

    def fit(self) -> str:
        """The command that trains."""
        words = ["maskline-train", "fit", self.recipe, "--data", self.data, "--out", self.run, "--init", self.init]
        defaults = (("--train-split", self.train_split, "train"), ("--val-split", self.val_split, "val"))
        for option, value, default in (*defaults, ("--annotations", self.annotations, "instances")):
            words += [option, value] if value != default else []
        line = shlex.join(map(str, words))
        return f"CUDA_VISIBLE_DEVICES= {line}" if self.without_gpu else line


def recipe_text(chosen: Chosen, found: Survey, machine: Machine, places: Places) -> str:
    """A Python file with `build(classes) -> Recipe`, which makes `chosen.recipe`."""
    recipe = chosen.recipe
    reasons = {**chosen.reasons, "model.classes": ""}
    body = constructor(recipe, reasons, {"model.classes": "classes"})
    heading = f'"""{_title(places)}.\n\nCommand:  {places.fit()}\n'
    facts = [
        ("Hardware:", f"{machine.describe()}; a step needs {chosen.probe.memory_gib:.1f} GiB."),
        ("Time:", f"{recipe.training.steps} steps of {chosen.probe.describe()}, and evaluations."),
        ("Seen:", seen(found)),
    ]
    for name, text in facts:
        heading += "\n".join(textwrap.wrap(f"{name:10}{text}", WIDTH, subsequent_indent=" " * 10)) + "\n"
    heading += (
        "\nChange what you like: a comment says why a number is what it is, and what is not named has its default.\n"
    )
    # Names of classes and folders may hold what would end the text, or mean something else in it.
    heading = '"""' + heading.removeprefix('"""').replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    lines = [f'{heading}"""', "", *_imports(body), "", ""]
    lines += [
        "def build(classes: tuple[str, ...]) -> Recipe:",
        '    """The recipe for these classes, in data set order."""',
    ]
    return "\n".join([*lines, f"    return {body}"]) + "\n"


def seen(found: Survey) -> str:
    """What was counted, in a sentence or two."""
    sizes = {(int(height), int(width)) for height, width in found.sizes}
    low, high = (f"{h}x{w}" for h, w in (min(sizes, key=_area), max(sizes, key=_area)))
    pictures = low if low == high else f"{low} to {high}"
    counts = sorted(found.counts.items(), key=lambda item: -item[1])
    named = ", ".join(f"{count} {name}" for name, count in counts[:_MOST_CLASSES])
    more = f", {len(counts) - _MOST_CLASSES} classes more" if len(counts) > _MOST_CLASSES else ""
    empty = f", {found.num_empty} of them without an object" if found.num_empty else ""
    return f"{counted(len(found.sizes), 'picture')} of {pictures} px{empty}. Objects: {named}{more}."


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _title(places: Places) -> str:
    """The line that `maskline-train recipes` shows of packaged ones."""
    return f"Fine-tuning on {places.data.name or 'a set'}, as `maskline-train new` chose it"


def _imports(body: str) -> list[str]:
    """The lines that the constructors in `body` need."""
    called, lines = set(re.findall(r"\b([A-Z]\w+)\(", body)), []
    for module in _MODULES:
        names = sorted(called & set(vars(module)))
        called.difference_update(names)
        if names:
            lines.append(_import(module.__name__, names))
    return sorted(lines)


def _import(module: str, names: list[str]) -> str:
    """On one line where it fits."""
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"from {module} import (", *(f"    {name}," for name in names), ")"])
