"""Every program that is run as `python -m MODULE` can be asked for help, and takes the options that a page gives it."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from contract.documents.test_command_lines import PAGES, ROOT

FOLDERS = {"bench": ROOT / "bench", "tests": ROOT / "tests", "demo": ROOT / "demo"}  # module names begin there
SHOWN = re.compile(r"python -m (\w[\w.]*)([^`\n|;]*)")


def module_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__main__" else parts)


PROGRAMS = {
    module_of(path, root): path
    for root in FOLDERS.values()
    for path in sorted(root.rglob("*.py"))
    if re.search(r"^def main\(.*^ +typer\.run\(main\)", path.read_text("utf-8"), re.DOTALL | re.MULTILINE)
}


def command_of(name: str) -> Any:
    app = typer.Typer()
    path = PROGRAMS[name]
    app.command()(importlib.import_module(name + (".__main__" if path.name == "__main__.py" else "")).main)
    return typer.main.get_command(app)


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_shows_an_example(name: str) -> None:
    """A type of an option that typer cannot read shows itself here, or at the first person who calls it."""
    command = command_of(name)
    assert "Example" in (command.help or ""), name


def given_in_pages() -> list[tuple[str, str, str]]:
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
        found += [(page, name, words) for name, words in SHOWN.findall(text) if name in PROGRAMS]
    return found


@pytest.mark.parametrize(("page", "name", "words"), given_in_pages())
def test_options_are_those_of_the_program(page: str, name: str, words: str) -> None:
    known = {option for parameter in command_of(name).params for option in parameter.opts}
    given = {word.partition("=")[0] for word in shlex.split(words, comments=True) if word.startswith("--")}
    assert given <= known | {"--help"}, page


def test_enough_is_looked_at() -> None:
    assert len(PROGRAMS) > 20
    assert len(given_in_pages()) > 10
