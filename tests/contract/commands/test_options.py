"""What holds for all four commands: ranges of numbers, --version, and a word on what is not installed."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from maskline.cli import app as line
from maskline_client.cli import app as client
from maskline_export.cli import app as export
from maskline_serve.commands import app as serve
from maskline_train.cli import app as train
from typer.testing import CliRunner

ROOT = Path(__file__).parents[3]
APPS = {
    "maskline": line,
    "maskline-client": client,
    "maskline-export": export,
    "maskline-serve": serve,
    "maskline-train": train,
}
MODULES = {
    "maskline": "maskline.__main__",
    "maskline-client": "maskline_client.commands.main",
    "maskline-export": "maskline_export.__main__",
    "maskline-serve": "maskline_serve.cli",
    "maskline-train": "maskline_train.__main__",
}


def leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command below one, with its words."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, below in command.commands.items():
        yield from leaves(below, f"{path} {name}")


ALL = [leaf for name, app in APPS.items() for leaf in leaves(typer.main.get_command(app), name)]


@pytest.mark.parametrize(("words", "command"), ALL, ids=[words for words, _ in ALL])
def test_every_number_has_a_range(words: str, command: Any) -> None:
    hints = typing.get_type_hints(inspect.unwrap(command.callback), include_extras=True)
    hints |= {name: hint for name, hint in command.callback.__annotations__.items() if not isinstance(hint, str)}
    for name, hint in hints.items():
        plain, *extra = typing.get_args(hint) if typing.get_origin(hint) is Annotated else (hint,)
        if {int, float} & {plain, *typing.get_args(plain)} and extra:
            assert extra[0].min is not None, f"{words}: {name} takes any number"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("maskline-train", "evaluate CHECKPOINT --data DATA --max-images -1"),
        ("maskline-train", "evaluate CHECKPOINT --data DATA --batch 0"),
        ("maskline-train", "fit digits_demo --data DATA --out OUT --steps 0"),
        ("maskline-client", "health --deadline 0"),
    ],
)
def test_a_number_out_of_range_is_refused_before_anything_is_read(name: str, words: str) -> None:
    result = CliRunner().invoke(APPS[name], words.split())
    assert result.exit_code == 2
    assert "Invalid value for" in " ".join(re.sub(r"\x1b\[[\d;]*m|[│╭╮╰╯─]", "", result.output).split())


@pytest.mark.parametrize("name", APPS)
def test_the_version_is_said(name: str) -> None:
    result = CliRunner().invoke(APPS[name], ["--version"])
    assert result.output == f"{name} {importlib.metadata.version('maskline')}\n"
    assert result.exit_code == 0


def run_without(packages: str, module: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A command in a process where some packages are not installed."""
    code = f"import sys\nfor name in {packages.split()!r}: sys.modules[name] = None\n"
    code += f"from {module} import main\nmain()"
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


HEAVY = "torch torchvision onnx onnxruntime tritonclient grpc safetensors pycocotools skimage sklearn tensorboard"


@pytest.mark.parametrize(
    ("name", "words", "extra"),
    [
        ("maskline-train", "predict CHECKPOINT image.png --out out", "train"),
        ("maskline-export", "onnx CHECKPOINT out", "export"),
        ("maskline-client", "--help", "client"),
        ("maskline-serve", "--help", "serve"),
    ],
)
def test_without_its_packages_a_command_names_its_extra_in_one_line(name: str, words: str, extra: str) -> None:
    done = run_without(HEAVY, MODULES[name], *words.split())
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert f"`pip install 'maskline[{extra}]'`" in line


@pytest.mark.parametrize("name", ["maskline-train", "maskline-export"])
def test_help_needs_no_package_of_an_extra(name: str) -> None:
    done = run_without(HEAVY, MODULES[name], "--help")
    assert done.returncode == 0, done.stderr
    assert "Commands" in done.stdout


@pytest.mark.parametrize("module", [f"maskline_{name}.cli" for name in ("client", "export", "serve", "train")])
def test_a_command_can_be_started_as_a_module(module: str) -> None:
    """As torchrun does with `-m maskline_train.cli`."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.startswith("maskline-"), done.stderr


def test_the_scripts_are_these() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(f'{name} = "{module}:main"' in text for name, module in MODULES.items())
