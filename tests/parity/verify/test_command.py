"""What `verify` says of several lines at once, which it takes, and which it refuses in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from maskline_export.cli import main
from maskline_export.engine import run_engine
from maskline_export.engine.engine_manifest import EngineInfo, EngineManifest
from maskline_export.manifest import PARITY_FILE, load_artifact
from maskline_export.precision.to_typed import type_artifact
from maskline_host import custom_ops_path
from parity.verify.lines import Network, make_network, rounding
from parity.verify.test_faults import negative
from support.data.shapes_data import write_shapes
from support.export.faults import planted, weights
from support.processes.in_process import call


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return make_network(tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="module")
def half(network: Network) -> Path:
    folder = network.artifact.with_name("fp16")
    type_artifact(network.artifact, folder, "fp16", None)
    return folder


class StandIn:
    """In the place of TensorRTStages: typed stages in ONNX Runtime under the name of engines."""

    def __init__(self, folder: Path) -> None:
        stages = load_artifact(folder).stages
        info = {
            name: EngineInfo(f"{name}.plan", "", 0, stage.sha256, 0, 0.0, stage.inputs, stage.outputs)
            for name, stage in stages.items()
        }
        self.manifest = EngineManifest("0", "tensorrt", "10.14", "9.0", "a GPU", "fp16", (), (), info)
        self.run = rounding(folder.with_name("fp16"))


def verify(network: Network, *words: object) -> int:
    return call(main, "verify", str(network.checkpoint), *map(str, words))


@pytest.mark.skipif(custom_ops_path() is None, reason="libmaskline_ort.so is not built: `make plugins`")
def test_many_lines_are_one_run_and_one_table(
    network: Network,
    half: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(run_engine, "TensorRTStages", StandIn)
    photo = write_shapes(tmp_path / "shapes", {"val": 1}) / "val"
    words = ("--library", "--engines", network.artifact, "--images", photo, "--json", tmp_path / "a.json")
    assert verify(network, network.artifact, half, *words) == 0
    said = capsys.readouterr().out
    titles = [
        "artifact: fp32, CPU, bodies",
        "artifact: fp32, CPU, op library",
        "fp16: fp16, CPU, bodies",
        "fp16: fp16, CPU, op library",
        "artifact: engines fp16, TensorRT 10.14, a GPU",
    ]
    for title in titles:
        assert f"PyTorch against {title}" in said
    assert said.count("\nAll lines") == 1
    assert "Every stage of 5 lines agrees on 1 images" in said
    report = json.loads((tmp_path / "a.json").read_text())
    assert [report["line"], *(line["line"] for line in report["further_lines"])] == titles
    assert (
        json.loads((half / PARITY_FILE).read_text())["line"] == titles[2]
    )  # each artifact says of itself what was found


def test_the_lines_that_deviate_are_named_with_their_first_stage(
    network: Network, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = planted(network.artifact, tmp_path / "wrong", weights("mask", "convs.0.weight", negative))
    assert verify(network, network.artifact, wrong) == 1
    said = capsys.readouterr()
    assert said.err.startswith("maskline-export: wrong: fp32, CPU, bodies: first stage that deviates: mask prob")
    assert "artifact: fp32, CPU, bodies: first stage" not in said.err
    assert "Every stage" not in said.out


def test_what_cannot_run_here_is_one_line(
    network: Network, half: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*words: object) -> str:
        assert verify(network, *words) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    type_artifact(network.artifact, tmp_path / "bf16", "bf16", None)
    assert "got precision bf16, for which ONNX Runtime has no convolutions" in refused(tmp_path / "bf16")
    assert "--device cuda: this ONNX Runtime has no GPU" in refused(network.artifact, "--device", "cuda")
    monkeypatch.setattr(run_engine, "TensorRTStages", StandIn)
    other = planted(network.artifact, tmp_path / "other", weights("mask", "convs.0.weight", negative))
    (tmp_path / "fp16").symlink_to(half)
    assert "built of another artifact than" in refused(network.artifact, "--engines", other)
