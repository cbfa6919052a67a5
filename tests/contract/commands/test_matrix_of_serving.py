"""docs/commands.md held to the truth: the commands that take an artifact, serve and call."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.commands.command_lines import CommandLine
from support.commands.inputs import Inputs
from support.commands.matrix import cells, check

pytestmark = pytest.mark.long
COMMANDS = (
    "maskline-export typed",
    "maskline-export quantize",
    "maskline-export engine",
    "maskline-serve run",
    "maskline-serve update",
    "maskline-serve doctor",
    "maskline-client bench",
    "maskline-client compare",
    "maskline-client page",
    "maskline-client detect",
    "maskline-client evaluate",
    "maskline-client health",
)


@pytest.mark.parametrize(("command", "condition"), cells(*COMMANDS))
def test_it_answers_as_the_page_says(command: CommandLine, condition: str, inputs: Inputs, tmp_path: Path) -> None:
    check(command, condition, inputs, tmp_path)
