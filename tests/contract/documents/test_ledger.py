"""docs/ledger.md: a line for each row of the paper, whose recipes, tables, commands, files and tests exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from maskline_train.cli import app
from maskline_train.paper.tables import load_table, table_names
from maskline_train.recipes import recipe_names

DOCS = Path(__file__).parents[3] / "docs"
STATES = ("implemented", "trained small", "exported", "served")
# What the paper itself leaves open or only claims of others; P49 is a measurement.
WITHOUT_CODE = {"P19", "P44", "P51", "P52", "P57"}
MEASURED = {"P49"}

LINES = [line for line in (DOCS / "ledger.md").read_text(encoding="utf-8").splitlines() if re.match(r"\| P\d\d ", line)]
ROWS = {cells[0]: cells[1:] for cells in ([cell.strip() for cell in line.strip("|").split("|")] for line in LINES)}


def test_the_ledger_has_every_row_once_and_in_order() -> None:
    assert list(ROWS) == [f"P{number:02d}" for number in range(1, 74)]
    assert len(LINES) == 73


@pytest.mark.parametrize("row", sorted(set(ROWS) - WITHOUT_CODE))
def test_a_row_names_code_and_tests_that_exist(row: str) -> None:
    for cell in (ROWS[row][2], ROWS[row][3]):
        found = re.fullmatch(r"\[(.+)\]\((.+)\)", cell)
        assert found, f"{row}: {cell!r} is no link"
        assert (DOCS / found.group(2)).is_file(), f"{row}: {found.group(2)} does not exist"
    assert "test_" in ROWS[row][3]


@pytest.mark.parametrize("row", sorted(set(ROWS) - WITHOUT_CODE - MEASURED))
def test_a_row_names_a_recipe_a_table_or_a_command(row: str) -> None:
    words = ROWS[row][1].strip("`").split()
    if words[0] == "ablate":
        assert words[1] in table_names()
        assert load_table(words[1]).rows
    elif len(words) == 1 and words[0] in recipe_names():
        return
    else:
        command = typer.main.get_command(app)
        for word in words:
            if word.startswith("--"):
                assert word in {option for parameter in command.params for option in parameter.opts}, f"{row}: {word}"
            else:
                assert word in command.commands, f"{row}: neither recipe, table nor command: {word}"
                command = command.commands[word]


@pytest.mark.parametrize("row", sorted(set(ROWS) - WITHOUT_CODE - MEASURED))
def test_a_state_is_made_of_known_words(row: str) -> None:
    for word in ROWS[row][4].split(", "):
        assert word.split(" (")[0] in STATES, f"{row}: {word}"


def test_every_row_of_an_ablation_stands_in_the_ledger() -> None:
    for name in table_names():
        for row in load_table(name).rows:
            assert row.ledger in ROWS
