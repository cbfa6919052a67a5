"""docs/commands.md names every command and every condition; a few of its cells, tried in every run.

The others are in the three files beside this one, which two workers share.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from contract.commands.test_options import ALL
from support.commands.command_lines import COMMANDS, CommandLine
from support.commands.inputs import Inputs
from support.commands.matrix import CONDITIONS, TABLE, cells, check

QUICK = cells("maskline-client predict")
# Of the other packages' quick ones what touches files; what all commands share is tried on the one above.
FILES = ("no permission", "full disk", "Ctrl-C while it writes")
OTHERS = [
    cell if cell.values[1] in FILES else pytest.param(*cell.values, id=cell.id, marks=pytest.mark.long)
    for cell in cells("maskline-train data cityscapes", "maskline-serve assemble")
]
WITH_TORCH = [cell for cell in cells("maskline-train predict") if "while it writes" in cell.id]


def test_the_page_has_every_command_and_every_condition() -> None:
    assert sorted(TABLE) == sorted(words for words, _ in ALL)
    assert list(TABLE) == [command.name for command in COMMANDS]
    assert all(list(row) == list(CONDITIONS) for row in TABLE.values())


def test_a_dash_stands_where_a_command_has_nothing_of_that() -> None:
    for command in COMMANDS:
        row = TABLE[command.name]
        reads, writes = bool(command.reads), "OUT" in command.words
        assert (row["file missing"][0] != "-", row["no permission"][0] != "-") == (reads, reads), command.name
        assert (row["full disk"][0] != "-", row["read-only folder"][0] != "-") == (writes, writes), command.name


@pytest.mark.parametrize(("command", "condition"), QUICK + OTHERS + WITH_TORCH)
def test_it_answers_as_the_page_says(command: CommandLine, condition: str, inputs: Inputs, tmp_path: Path) -> None:
    check(command, condition, inputs, tmp_path)
