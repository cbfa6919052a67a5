"""Typed stages of a whole model become engines by NVIDIA's own builder: fp16, bf16 and the int8 trunk.

TensorRT for RTX builds for a GPU that is not there. It takes no plugins, so what is built is the bodies; every type,
shape and profile is the one that TensorRT gets.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from maskline_export.engine.engine_manifest import EngineManifest, load_engines
from maskline_export.manifest import load_artifact, sha256
from maskline_export.precision.low_types import is_feature
from PIL import Image
from skimage import data as photographs
from support.export.exported import Exported

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorrt_rtx") is None, reason="the package tensorrt-rtx-cu13 is not installed"
    ),
]


def build(artifact: Path, out: Path, *options: str | Path) -> EngineManifest:
    """As a user does; a builder may end its process."""
    command = [sys.executable, "-m", "maskline_export.cli", "engine", artifact, out, "--rtx", "--plugin-free", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return load_engines(out)


@pytest.mark.long
@pytest.mark.parametrize(("precision", "wire"), [("fp16", "FP16"), ("fp32", "FP32"), ("bf16", "BF16")])
def test_every_stage_of_a_model(exported: Exported, tmp_path: Path, precision: str, wire: str) -> None:
    engines = build(exported.dense, tmp_path / "out", "--precision", precision, "--profile", "1:1:2@96x128")
    check(engines, exported.dense, tmp_path / "out", wire)
    assert engines.precision == precision


def check(engines: EngineManifest, artifact: Path, out: Path, wire: str) -> None:
    """The manifest tells of the source's stages, of the plans in the folder, and of features of that type."""
    source = load_artifact(artifact)
    assert list(engines.stages) == list(source.stages) == ["backbone", "proposal", "mask"]
    assert (engines.runtime, engines.plugins) == ("tensorrt_rtx", ())
    for name, stage in engines.stages.items():
        assert stage.onnx_sha256 == source.stages[name].sha256
        assert stage.sha256 == sha256(out / stage.file)
        assert stage.plugin_layers == 0
        for tensor in (*stage.inputs, *stage.outputs):
            assert (tensor.dtype == wire) if is_feature(tensor.name) else (tensor.dtype in ("FP32", "INT32", "UINT8"))


@pytest.mark.long
def test_an_int8_trunk_between_fp16_stages_and_two_canvases(exported: Exported, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("astronaut", "coffee", "chelsea", "rocket", "camera", "coins", "moon", "page"):
        Image.fromarray(getattr(photographs, name)()).convert("RGB").save(photos / f"{name}.png")
    options = ("--precision", "int8", "--calibration", photos)
    engines = build(exported.dense, tmp_path / "out", *options, "--profile", "1:1:2@96x128", "--profile", "1:1:1@64x64")
    check(engines, exported.dense, tmp_path / "out", "FP16")
    assert engines.precision == "int8"
    assert [str(profile) for profile in engines.profiles] == ["1:1:2@96x128", "1:1:1@64x64"]
    dtypes = {tensor.name: tensor.dtype for tensor in engines.stages["backbone"].outputs}
    assert dtypes["p2"] == "FP16"
    assert dtypes["rpn_deltas_p2"] == "FP32"
