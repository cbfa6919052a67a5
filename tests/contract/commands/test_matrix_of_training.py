"""docs/commands.md held to the truth: the commands that train, list and make data."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.commands.command_lines import CommandLine
from support.commands.inputs import Inputs
from support.commands.matrix import cells, check

pytestmark = pytest.mark.long
COMMANDS = (
    "maskline-train new",
    "maskline-train fit",
    "maskline-train recipes",
    "maskline-train ablate",
    "maskline-train tables",
    "maskline-train four-step",
    "maskline-train data digits",
    "maskline-train data figures",
    "maskline-train data check",
    "maskline-train data convert",
    "maskline-train data tiles",
)


@pytest.mark.parametrize(("command", "condition"), cells(*COMMANDS))
def test_it_answers_as_the_page_says(command: CommandLine, condition: str, inputs: Inputs, tmp_path: Path) -> None:
    check(command, condition, inputs, tmp_path)
