"""What to type next, once a data set was made."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from maskline_train.data.convert.labelled import split_of


def next_commands(data: Path, splits: Sequence[str], annotations: str = "instances") -> list[str]:
    """What looks at every picture, and what makes a recipe."""
    folder, kind = shlex.quote(str(data)), _kind(annotations)
    named = "" if set(splits) == {"train", "val"} else "".join(f" --split {shlex.quote(split)}" for split in splits)
    return [
        f"Look through it: maskline-train data check {folder}{named}{kind}",
        *making_a_recipe(data, splits, annotations),
    ]


def making_a_recipe(data: Path, splits: Sequence[str], annotations: str = "instances") -> list[str]:
    """The command that makes a recipe, where there is a split to learn from and one to judge by."""
    trains = [split for split in splits if split_of(split) == "train"]
    judges = sorted((split for split in splits if split not in trains), key=lambda split: split_of(split) != "val")
    return [f"Next: {new_command_line(data, trains[0], judges[0], annotations)}"] if trains and judges else []


def new_command_line(data: Path, train_split: str, val_split: str, annotations: str) -> str:
    """The command that makes a recipe of a set."""
    words = f"maskline-train new {shlex.quote(str(data))}"
    for option, value, default in (("--train-split", train_split, "train"), ("--val-split", val_split, "val")):
        words += "" if value == default else f" {option} {shlex.quote(value)}"
    return words + _kind(annotations)


def _kind(annotations: str) -> str:
    return "" if annotations == "instances" else f" --annotations {shlex.quote(annotations)}"
