"""docs/commands.md held to the truth: the commands that take a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.commands.command_lines import CommandLine
from support.commands.inputs import Inputs
from support.commands.matrix import cells, check

pytestmark = pytest.mark.long
COMMANDS = (
    "maskline ship",
    "maskline-train evaluate",
    "maskline-train predict",
    "maskline-train import",
    "maskline-train distil",
    "maskline-export onnx",
    "maskline-export verify",
)


@pytest.mark.parametrize(("command", "condition"), cells(*COMMANDS))
def test_it_answers_as_the_page_says(command: CommandLine, condition: str, inputs: Inputs, tmp_path: Path) -> None:
    check(command, condition, inputs, tmp_path)
