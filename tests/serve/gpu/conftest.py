"""Artifacts for a GPU, and a repository for one whose stages are then told to run on the CPU: all else stays."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from maskline_export.onnx_stages.to_onnx import export_model
from maskline_export.precision.to_typed import type_artifact
from maskline_serve.repository.assemble import Target, assemble
from maskline_serve.repository.gpu.serving import Decode
from serve import standin
from support.export.exported import decided_tiny_model
from support.export.kept_traces import kept_traces


@pytest.fixture(scope="session")
def dense_standin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in, whose graphs have fixed sizes anyway, with a manifest that says so."""
    folder = standin.write_artifact(tmp_path_factory.mktemp("gpu") / "artifact")
    change(folder, bodies="dense")
    return folder


@pytest.fixture(scope="session")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with dense bodies, float32."""
    folder = tmp_path_factory.mktemp("gpu_tiny")
    with kept_traces():
        export_model(decided_tiny_model(), "0" * 64, folder / "dense", "dense")
    return folder / "dense"


@pytest.fixture(scope="session")
def half(dense: Path) -> Path:
    """The same in float16."""
    folder = dense.parent / "fp16"
    type_artifact(dense, folder, "fp16", None)
    return folder


def change(artifact: Path, **entries: object) -> None:
    """Entries of an artifact's manifest, changed."""
    path = artifact / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **entries}), encoding="utf-8")


def on_the_cpu(artifact: Path, folder: Path, sessions: str = "shared", decode: Decode = Decode.HOST) -> Path:
    """A repository of the target onnxruntime-gpu that runs without one: KIND_CPU in the place of KIND_GPU."""
    assemble(artifact, folder, Target.ONNXRUNTIME_GPU, decode=decode)
    changed = 0
    for path in folder.glob("models/**/*.pbtxt"):
        text = path.read_text(encoding="utf-8")
        new = re.sub(r"\{ kind: KIND_GPU count: (\d) gpus: \[ 0 \] \}", r"{ kind: KIND_CPU count: \1 }", text)
        changed += new != text
        path.write_text(new.replace('string_value: "shared"', f'string_value: "{sessions}"'), encoding="utf-8")
    assert changed == 2 * len(list(artifact.glob("*.onnx"))) + (decode is Decode.DEVICE)
    return folder
