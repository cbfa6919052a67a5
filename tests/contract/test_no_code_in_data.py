"""Nothing that serves or calls turns data into code: no pickle and its like, no eval, no shell.

What may run code is the model repository itself (its models in Python, its libraries), which is a program: SECURITY.md.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = (
    "triton_repo",
    "client",
    "plugins/maskline_host",
    "train/maskline_coco",
    "train/maskline_command",
    "train/maskline_show",
    "train/maskline_tiles",
)
MODULES = {"pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle", "pty", "commands"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
CALLS = {
    "torch.load",
    "os.system",
    "os.popen",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "pandas.read_pickle",
}
LOADS = {"np.load", "numpy.load"}  # a pickle in a .npy file is run unless this is said: allow_pickle=False


def found_in(text: str) -> Iterator[str]:
    """What a source has of these, each with its line."""
    for node in ast.walk(ast.parse(text)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module.split(".")[0] in MODULES else []
        elif isinstance(node, ast.Call):
            names = [f"{called}()" for called in (ast.unparse(node.func),) if _runs_data(called, node)]
        yield from (f"line {node.lineno}: {name}" for name in names)  # type: ignore[attr-defined]


def _runs_data(called: str, call: ast.Call) -> bool:
    said = {word.arg: ast.unparse(word.value) for word in call.keywords}
    if called in LOADS:
        return said.get("allow_pickle") != "False"
    return called in CALLS or called in BUILTINS or said.get("shell") not in (None, "False")


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_serves_and_calls_has_none_of_it(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert len(files) > 3
    for path in files:
        found = list(found_in(path.read_text(encoding="utf-8")))
        assert not found, f"{path.relative_to(ROOT)}: {found}"


@pytest.mark.parametrize("folder", ["plugins/triton", "plugins/ort", "plugins/common"])
def test_the_libraries_start_no_program(folder: str) -> None:
    files = [path for path in sorted((ROOT / folder).rglob("*")) if path.suffix in {".h", ".cpp"}]
    assert files
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert not [name for name in ("system(", "popen(", "execv", "execl", "posix_spawn") if f" {name}" in text], path


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.numpy_pickle",
        "def f():\n    import marshal",
        "np.load(path)",
        "numpy.load(path, allow_pickle=True)",
        "torch.load(path, weights_only=True)",
        "eval(text)",
        "exec(text)",
        "yaml.load(text, Loader)",
        "subprocess.run(text, shell=True)",
        "subprocess.run(text, shell=anything)",
        "os.system(text)",
    ],
)
def test_each_of_them_would_be_found(text: str) -> None:
    assert list(found_in(text))


@pytest.mark.parametrize("text", ["np.load(path, allow_pickle=False)", "re.compile(text)", "subprocess.run(words)"])
def test_what_is_harmless_is_let_be(text: str) -> None:
    assert not list(found_in(text))
