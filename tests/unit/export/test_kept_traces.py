"""What tests share of an export is of the very same network, by the very same sources."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
from maskline_export.onnx_stages import to_onnx
from onnx import helper
from support import sources
from support.export import kept_traces
from torch import nn


class Exporter:
    """Stands for PyTorch's: counts what it is asked for, and makes a graph of that number."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, stage: SimpleNamespace) -> onnx.ModelProto:
        self.asked += 1
        return helper.make_model(helper.make_graph([], f"{stage.name} {self.asked}", [], []))


def network(weight: float = 1.0, stride: int = 1) -> nn.Module:
    layer = nn.Conv2d(1, 1, 1, stride=stride)
    nn.init.constant_(layer.weight, weight)
    nn.init.zeros_(layer.bias)
    return nn.Sequential(layer)


def stage(name: str = "mask", multiple: int = 32, **changed: float) -> SimpleNamespace:
    return SimpleNamespace(name=name, inputs=("p2",), outputs=("masks",), module=network(**changed), multiple=multiple)


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Exporter:
    made = Exporter()
    monkeypatch.setattr(to_onnx, "_trace", made)
    return made


def test_the_same_stage_is_traced_once(exporter: Exporter, tmp_path: Path) -> None:
    for _ in range(2):
        with kept_traces.kept_traces(tmp_path):
            assert to_onnx._trace(stage()).graph.name == "mask 1"
    assert exporter.asked == 1
    assert to_onnx._trace is exporter


@pytest.mark.parametrize(
    "other",
    [{"name": "keypoint"}, {"multiple": 1}, {"weight": 1.0000001}, {"stride": 2}],
    ids=lambda change: next(iter(change)),
)
def test_another_stage_is_traced(exporter: Exporter, tmp_path: Path, other: dict) -> None:
    with kept_traces.kept_traces(tmp_path):
        to_onnx._trace(stage())
        assert to_onnx._trace(stage(**other)).graph.name.endswith(" 2")


def test_after_an_edit_nothing_is_read_or_kept(
    exporter: Exporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kept_traces.kept_traces(tmp_path):
        to_onnx._trace(stage())
        before = sorted(tmp_path.rglob("*"))
        monkeypatch.setattr(sources, "digest", lambda: "another")
        assert to_onnx._trace(stage()).graph.name == "mask 2"
        to_onnx._trace(stage("keypoint"))
    assert sorted(tmp_path.rglob("*")) == before


def test_an_edit_in_the_middle_of_an_export_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def edited(_: SimpleNamespace) -> onnx.ModelProto:
        monkeypatch.setattr(sources, "digest", lambda: "another")
        return helper.make_model(helper.make_graph([], "of both", [], []))

    monkeypatch.setattr(to_onnx, "_trace", edited)
    with kept_traces.kept_traces(tmp_path):
        to_onnx._trace(stage())
    assert list(tmp_path.rglob("*.onnx")) == []


def test_traces_of_old_sources_are_removed(exporter: Exporter, tmp_path: Path) -> None:
    for age in range(5):
        (tmp_path / f"old {age}").mkdir()
        os.utime(tmp_path / f"old {age}", (1_000_000 - age, 1_000_000 - age))
    with kept_traces.kept_traces(tmp_path):
        to_onnx._trace(stage())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([sources.AT_START[:16], "old 0", "old 1"])


def test_every_source_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package" / "room"
    package.mkdir(parents=True)
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    monkeypatch.setattr(sources, "PACKAGES", (tmp_path / "package",))
    seen = {sources.digest()}
    for text in ("a = 1\n", "a = 2\n"):
        (package / "file.py").write_text(text)
        seen.add(sources.digest())
    (package / "file.py").rename(package / "other.py")
    seen.add(sources.digest())
    monkeypatch.setattr(sources, "TOOLS", sources.TOOLS[1:])
    seen.add(sources.digest())
    assert len(seen) == 5


def test_a_network_whose_numbers_cannot_be_seen_is_refused(tmp_path: Path) -> None:
    hidden = stage()
    hidden.module.scale = hidden.module[0].weight.detach()
    with pytest.raises(AssertionError, match="register it as a buffer"):
        kept_traces.key(hidden)
