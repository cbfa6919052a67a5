"""int8 answers are exact on any processor: the setting is made where, and only where, products would saturate."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import onnxruntime as ort
import pytest
from maskline_export.verify.onnx_runtime import OnnxModel
from maskline_host import int8_products
from support.serving import model_files

ENTRY = "session.x64quantprecision"

# 16 channels of the largest level times weights of the largest level: two products are 64770. In a process of its own,
# whose processor may be an emulated one; prints how far off the answer is, as a share, without and with the setting.
SATURATING = """
import pathlib, numpy as np, onnx.parser, onnxruntime as ort
from onnx import numpy_helper
from maskline_host import int8_products
from maskline_export.precision.int8_cpu.plan import plan
from maskline_export.precision.int8_cpu.ranges import Range
from maskline_export.precision.int8_cpu.rewrite import rewritten
model = onnx.parser.parse_model('''<ir_version: 10, opset_import: ["" : 20]>
    stage (float[1,16,H,W] x) => (float[1,8,H,W] y) { a = Relu (x)  y = Conv (a, w)  z = Conv (y, last) }''')
for name, side in (("w", 16), ("last", 8)):
    model.graph.initializer.append(numpy_helper.from_array(np.ones((8, side, 1, 1), np.float32), name))
changed = rewritten(model, plan(model), {"a": Range(np.float32(1 / 255), 0), "y": Range(np.float32(16 / 255), 0)})
for make in (lambda options: None, lambda options: int8_products.keep_exact(options, pathlib.Path("{flags}"))):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    make(options)
    session = ort.InferenceSession(changed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    print(abs(session.run(None, {"x": np.ones((1, 16, 8, 8), np.float32)})[0] - 16).max() / 16)
"""


@pytest.mark.parametrize("flags", ["avx2 avx512_vnni", "avx2 avx_vnni fma"])
def test_a_processor_with_vnni_keeps_its_speed(flags: str, tmp_path: Path) -> None:
    options = ort.SessionOptions()
    assert not int8_products.keep_exact(options, file(tmp_path, flags))
    with pytest.raises(RuntimeError, match=ENTRY):
        options.get_session_config_entry(ENTRY)


@pytest.mark.parametrize("flags", ["avx2 fma", "avx512f avx512bw", "avx512_vnni_like"])
def test_one_without_gets_the_setting(flags: str, tmp_path: Path) -> None:
    options = ort.SessionOptions()
    assert int8_products.keep_exact(options, file(tmp_path, flags))
    assert options.get_session_config_entry(ENTRY) == "1"


def test_one_that_does_not_tell_gets_the_setting(tmp_path: Path) -> None:
    assert int8_products.keep_exact(ort.SessionOptions(), tmp_path / "no such file")


def test_the_backend_and_the_exporter_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = model_files.load("backends/onnxruntime/onnx_session.py")
    asked: list[object] = []
    monkeypatch.setattr(backend.int8_products, "keep_exact", asked.append)
    backend.session_options({})
    assert len(asked) == 1
    monkeypatch.setattr(int8_products, "keep_exact", asked.append)
    with pytest.raises(AttributeError):
        OnnxModel(None)  # type: ignore[arg-type]  # after its options are made
    assert len(asked) == 2


def errors(flags: Path, *before: str) -> list[float]:
    """Without and with the setting, on the processor that these flags tell of."""
    script = SATURATING.replace("{flags}", str(flags))
    done = subprocess.run([*before, sys.executable, "-c", script], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return [float(line) for line in done.stdout.splitlines()]


def test_this_processor_answers_exactly() -> None:
    assert errors(Path("/proc/cpuinfo"))[1] < 0.01


def test_a_processor_without_vnni_answers_exactly_too(tmp_path: Path) -> None:
    """QEMU's has AVX2 and no more. Without the setting the answer is half of what it should be."""
    emulator = shutil.which("qemu-x86_64")
    if emulator is None:
        pytest.skip("no qemu-x86_64 (Debian: qemu-user), which emulates a processor without VNNI")
    # The kernel tells of the real processor's flags, whatever is emulated.
    saturated, exact = errors(file(tmp_path, "avx2"), emulator, "-cpu", "max")
    assert saturated > 0.3
    assert exact < 0.01


def file(folder: Path, flags: str) -> Path:
    (folder / "cpuinfo").write_text(f"processor : 0\nflags\t\t: fpu {flags}\n")
    return folder / "cpuinfo"
