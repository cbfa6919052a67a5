"""The import direction: train <- export; host (our libraries) <- train, export, serve; coco <- train, export, client.

One room of the client, `local`, imports serve, whose models it runs without a server; one of the exporter,
`verify/lines/served`, imports the client, by which it asks a running server.

coco (what COCO files say), command (how commands end), show (drawn pictures, pages), tiles (large pictures) and host
stand alone; the four packages with commands import command, train and client import show and tiles; `maskline`, the
whole line, and the benchmarks import all and are imported by none; folder names are no import names.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {
    "maskline",
    "maskline_train",
    "maskline_coco",
    "maskline_command",
    "maskline_show",
    "maskline_tiles",
    "maskline_export",
    "maskline_serve",
    "maskline_client",
    "maskline_host",
    "maskline_bench",
}
TORCH = {"torch", "torchvision"}
PACKAGES = {
    "plugins/maskline_host": {"maskline_host"},
    "train/maskline_coco": {"maskline_coco"},
    "train/maskline_command": {"maskline_command"},
    "train/maskline_show": {"maskline_show"},
    "train/maskline_tiles": {"maskline_tiles"},
    "train/maskline_train": {
        "maskline_train",
        "maskline_host",
        "maskline_coco",
        "maskline_command",
        "maskline_show",
        "maskline_tiles",
    },
    "export/maskline_export": {
        "maskline_export",
        "maskline_host",
        "maskline_train",
        "maskline_coco",
        "maskline_command",
    },
    "export/maskline_export/verify/lines/served": {"maskline_export", "maskline_train", "maskline_client"},
    "triton_repo/maskline_serve": {"maskline_serve", "maskline_host", "maskline_command"},
    "client/maskline_client": {
        "maskline_client",
        "maskline_coco",
        "maskline_command",
        "maskline_show",
        "maskline_tiles",
    },
    "client/maskline_client/local": {"maskline_client", "maskline_serve"},
    "bench/maskline_bench": OURS - {"maskline"},
    "line/maskline": OURS - {"maskline_bench"},
    "triton_repo/models": set(),
    "triton_repo/backends": set(),
}
FOLDERS = ("train", "export", "bench", "line", "client", "triton_repo", "plugins", "common", "framework", "testing")


def imported_names(path: Path) -> set[str]:
    """Top-level names of all absolute imports of a file, those inside functions included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("folder", PACKAGES)
def test_a_package_imports_only_what_its_place_in_the_line_allows(folder: str) -> None:
    own = [ROOT / name for name in PACKAGES if name.startswith(f"{folder}/")]  # rooms with a rule of their own
    files = [path for path in sorted((ROOT / folder).rglob("*.py")) if not any(map(path.is_relative_to, own))]
    assert files
    for path in files:
        foreign = (imported_names(path) & OURS) - PACKAGES[folder]
        assert not foreign, f"{path.relative_to(ROOT)} imports {', '.join(sorted(foreign))}"


@pytest.mark.parametrize(
    "folder", ["triton_repo", "client", "train/maskline_coco", "train/maskline_show", "train/maskline_tiles"]
)
def test_serving_and_client_never_import_torch(folder: str) -> None:
    for path in sorted((ROOT / folder).rglob("*.py")):
        assert not imported_names(path) & TORCH, f"{path.relative_to(ROOT)} imports torch"


def test_the_host_binding_needs_numpy_alone_and_knows_not_its_own_name() -> None:
    """It is copied into model repositories, where it is part of another package and runs in Triton's Python."""
    for path in sorted((ROOT / "plugins" / "maskline_host").rglob("*.py")):
        foreign = imported_names(path) - {"numpy"} - sys.stdlib_module_names
        assert not foreign, f"{path.relative_to(ROOT)} imports {', '.join(sorted(foreign))}"


def test_what_draws_needs_numpy_and_pillow_and_its_charts_matplotlib_alone() -> None:
    """The client draws where matplotlib is not installed."""
    for path in sorted((ROOT / "train" / "maskline_show").rglob("*.py")):
        allowed = {"numpy", "PIL", "maskline_show", *(["matplotlib"] if path.name == "chart.py" else [])}
        foreign = imported_names(path) - allowed - sys.stdlib_module_names
        assert not foreign, f"{path.relative_to(ROOT)} imports {', '.join(sorted(foreign))}"
        at_chart = path.name != "chart.py" and "maskline_show.chart" in path.read_text(encoding="utf-8")
        assert not at_chart, f"{path.relative_to(ROOT)} imports the charts"


@pytest.mark.parametrize("name", FOLDERS)
def test_the_linter_refuses_a_folder_name_as_an_import(name: str) -> None:
    """At the repository root `import train` would silently succeed as an empty namespace package."""
    result = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--select", "TID251", "--stdin-filename", "sample.py", "-"],
        input=f"import {name}\n",
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert result.returncode == 1
    assert "TID251" in result.stdout


def test_no_file_imports_a_bare_folder_name() -> None:
    ours = [path for path in ROOT.iterdir() if path.is_dir() and path.name not in {".venv", "out", "build", "dist"}]
    paths = sorted(path for folder in ours for path in folder.rglob("*.py"))
    assert paths
    for path in paths:
        assert not imported_names(path) & set(FOLDERS), f"{path.relative_to(ROOT)} imports a folder"
