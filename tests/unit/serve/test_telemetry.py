"""ONNX Runtime tells nobody of what we run: no socket is opened and nothing is written below the home folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from maskline_serve.server.find_server import Installation, environment
from support.structure.house import tracked

ROOT = Path(__file__).parents[3]
VARIABLE = "ORT_DISABLE_TELEMETRY"
IMPORTS = re.compile(r"^\s*(?:import onnxruntime|from onnxruntime)", re.MULTILINE)
BACKEND = "triton_repo/backends/onnxruntime"
# What loads ONNX Runtime, by its first import.
LOADERS = {
    "export": "import maskline_export.verify.onnx_runtime",
    "serve": "import maskline_serve.doctor",
    "backend": f"import sys; sys.path.insert(0, {str(ROOT / BACKEND)!r}); import onnx_session",
    "bench": "import maskline_bench.measure",
}
SESSION = """
import time
import onnx.parser, onnxruntime
model = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 20]> g (float[1] x) => (float[1] y) {y = Neg(x)}')
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
time.sleep(0.5)  # telemetry has threads of its own
"""


@pytest.mark.parametrize("loader", LOADERS)
def test_no_socket_is_opened_and_nothing_is_written_at_home(loader: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    # CI machines are spared by ONNX Runtime itself: here it must believe that a person runs it.
    environ = {key: value for key, value in os.environ.items() if key not in (VARIABLE, "CI", "TF_BUILD")}
    environ |= {"HOME": str(home), "PYTHONPATH": str(ROOT / "bench")}
    environ.pop("XDG_CACHE_HOME", None)
    trace = tmp_path / "trace"
    tracer = ["strace", "-f", "-e", "trace=socket", "-o", str(trace)] if shutil.which("strace") else []
    command = [*tracer, sys.executable, "-c", LOADERS[loader] + SESSION]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert list(home.rglob("*")) == []
    if tracer:
        assert not re.findall(r"socket\(AF_INET.*", trace.read_text())


def test_every_package_that_loads_it_says_so_first() -> None:
    """A new file that imports it needs no thought of its own: the package does it before any of its modules."""
    for path in (ROOT / name for name in tracked(ROOT) if name.suffix == ".py" and name.parts[0] != "tests"):
        if not IMPORTS.search(path.read_text(encoding="utf-8")):
            continue
        package = next((p for p in path.parents if p.name.startswith("maskline_")), None)
        first = path if package is None else package / "__init__.py"
        assert VARIABLE in first.read_text(encoding="utf-8"), f"{path} loads ONNX Runtime, {first} does not silence it"


@pytest.mark.parametrize(("given", "expected"), [(None, "1"), ("0", "0")])
def test_a_server_gets_the_variable_unless_its_owner_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, given: str | None, expected: str
) -> None:
    monkeypatch.delenv(VARIABLE)
    if given is not None:
        monkeypatch.setenv(VARIABLE, given)
    assert environment(Installation(Path("tritonserver"), "PATH", None))[VARIABLE] == expected


@pytest.mark.parametrize("file", ["Containerfile", "tensorrt/launch.sh"])
def test_containers_have_it_too(file: str) -> None:
    assert VARIABLE in (ROOT / "triton_repo" / "deploy" / file).read_text(encoding="utf-8")


def test_the_backend_in_the_servers_process_silences_it_before_it_opens_it() -> None:
    code = (ROOT / "plugins" / "triton" / "engine.cpp").read_text(encoding="utf-8")
    assert 0 < code.index(f'setenv("{VARIABLE}", "1", 0)') < code.index("::dlopen(")
