"""A running server as a line of `verify`: it agrees, and a fault in each of its steps is named."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from maskline_export.cli import main
from maskline_export.manifest import load_artifact
from maskline_export.verify.lines.choose import Asked, lines_of
from maskline_export.verify.lines.served import server_line
from maskline_serve.repository.assemble import assemble
from maskline_serve.server.triton_server import TritonServer
from parity.verify.lines import Network, make_network
from parity.verify.test_faults import negative
from support.export.faults import attributes, planted, weights
from support.processes.in_process import call
from support.served_models import model_of

pytestmark = pytest.mark.triton
Change = Callable[[Network, Path], None]  # of a repository


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return make_network(tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="module")
def repository(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "repository"
    assemble(network.artifact, folder)
    return folder


def parameter(model: str, name: str, old: str, new: str) -> Change:
    """Another value of a parameter in a config.pbtxt."""

    def change(_: Network, repository: Path) -> None:
        config = model_of(repository, model) / "config.pbtxt"
        lines = config.read_text().splitlines()
        found = [index for index, line in enumerate(lines) if f'key: "{name}"' in line and old in line]
        assert found, f"{model} has no {name} with {old}"
        for index in found:
            lines[index] = lines[index].replace(old, new)
        config.write_text("\n".join(lines) + "\n")

    return change


def stage(name: str, fault: Callable[[Path], None]) -> Change:
    """A stage with a fault."""

    def change(network: Network, repository: Path) -> None:
        wrong = planted(network.artifact, repository.with_name("wrong"), fault)
        shutil.copyfile(wrong / f"{name}.onnx", model_of(repository, name) / "1" / "model.onnx")

    return change


CASES = {
    "class order": (
        parameter("maskrcnn", "labels", r"\"circle\", \"square\"", r"\"square\", \"circle\""),
        "class names",
    ),
    "resize filter": (parameter("preprocess", "resize_filter", "pillow", "torch"), "canvas"),
    "paste": (parameter("postprocess", "paste", "aligned", "detectron"), "pasting"),
    "backbone": (stage("backbone", weights("backbone", "fpn.output.0.weight", negative)), "P2-P5"),
    "NMS of classes": (
        stage("proposal", attributes("proposal", "ClasswiseNMS", nms_thresh=0.9)),
        "boxes of the box head",
    ),
    "mask head": (stage("mask", weights("mask", "convs.0.weight", negative)), "mask probabilities"),
    "keypoint head": (stage("keypoint", weights("keypoint", "convs.0.weight", negative)), "keypoints"),
}
FEW = ("resize filter", "paste")


@pytest.mark.parametrize(
    "name", [name if name in FEW else pytest.param(name, marks=pytest.mark.long) for name in CASES]
)
def test_a_fault_in_a_step_is_named(network: Network, repository: Path, name: str, tmp_path: Path) -> None:
    change, expected = CASES[name]
    wrong = shutil.copytree(repository, tmp_path / "repository", symlinks=True)
    change(network, wrong)
    with TritonServer(wrong, drain_s=5) as server:
        line = server_line.ServerLine(server.grpc_url, "fp32", network.model.spec)
        report = network.report(line)
    assert report.first_deviation == expected, [row for row in report.rows if not row.ok]


def test_an_honest_server_agrees_with_its_stages_and_without_them(
    network: Network,
    repository: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with TritonServer(repository, drain_s=5) as server:
        words = [str(network.checkpoint), str(network.artifact), "--url", server.grpc_url]
        assert call(main, "verify", *words, "--json", str(tmp_path / "a.json")) == 0
        said = capsys.readouterr().out
        assert f"PyTorch against server {server.grpc_url}: fp32" in said
        assert "Every stage of 2 lines agrees on 7 images" in said
        assert assemble(network.artifact, repository) is False  # it was, before the artifact was verified
        other = planted(network.artifact, tmp_path / "other", weights("mask", "convs.0.weight", negative))
        line = lines_of(Asked([other], url=server.grpc_url), [load_artifact(other)])[1]
        assert re.search(r": fp32, it serves artifact [0-9a-f]{12}, none of those named$", line.title)
        # A server behind a proxy that lets the ensembles pass alone: its answers are what is compared.
        monkeypatch.setattr(server_line.ServerLine, "_is_there", lambda self, model: False)
        manifests = [load_artifact(network.artifact)]
        line = lines_of(Asked([network.artifact], url=server.grpc_url), manifests)[1]
        report = network.report(line)
        assert report.title == f"server {server.grpc_url}: fp32, answers alone: it hides its stages"
        assert [row.stage for row in report.rows] == [
            "class names", "detections", "scores", "masks, pasted", "mask area", "keypoints, answered",
        ]  # fmt: skip
        assert report.first_deviation is None


def test_no_server_is_one_line(network: Network, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(network.checkpoint), str(network.artifact), "--url", "127.0.0.1:9"]
    assert call(main, "verify", *words) == 1
    error = capsys.readouterr().err
    assert error.startswith("maskline-export: --url: ")
    assert error.count("\n") == 1
