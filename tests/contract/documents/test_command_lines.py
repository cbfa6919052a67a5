"""Every command of ours that a page shows is there, and takes the options that the page gives it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from maskline.cli import app as line
from maskline_client.cli import app as client
from maskline_export.cli import app as export
from maskline_serve.commands import app as serve
from maskline_train.cli import app as train

ROOT = Path(__file__).parents[3]
PROGRAMS = {
    "maskline": line,
    "maskline-train": train,
    "maskline-export": export,
    "maskline-serve": serve,
    "maskline-client": client,
}
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/**/README.md"))
    if not {".venv", "build"} & set(path.relative_to(ROOT).parts)
)
# A line of a block of code, or a piece of code in a sentence, that begins with one of ours.
SHOWN = re.compile(r"^(?:\S+/bin/)?(maskline(?:-[a-z]+)? [^`\n]*)$|`(maskline(?:-[a-z]+)? [^`]*)`", re.MULTILINE)


def shown(page: str) -> list[str]:
    """The command lines of a page, those that go on in a next line joined."""
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    found = [" ".join((block or inline).split()) for block, inline in SHOWN.findall(text)]
    return [words for words in found if words.split()[0] in PROGRAMS]


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words name, and what is left of them."""
    command: Any = typer.main.get_command(PROGRAMS[words[0]])
    rest = words[1:]
    while rest and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


@pytest.mark.parametrize("page", PAGES)
def test_options_are_those_of_the_command(page: str) -> None:
    for text in shown(page):
        command, rest = command_of(shlex.split(text.replace("'", ""), comments=True))
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        given = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert given <= known | {"--help"}, text
        first = next((word for word in rest if not word.startswith("-")), None)
        assert not hasattr(command, "commands") or first is None or not first[:1].islower(), f"no command: {text}"


def test_enough_is_looked_at() -> None:
    assert sum(len(shown(page)) for page in PAGES) > 100
