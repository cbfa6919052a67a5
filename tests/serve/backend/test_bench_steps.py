"""The benchmark of what serving adds, on the stand-in: every step is timed, whatever runs it."""

from __future__ import annotations

from pathlib import Path

import device
import pytest
from maskline_bench.errors import BenchmarkError
from maskline_bench.steps.__main__ import ENSEMBLE, measure
from serve import standin
from support.served_models import model_of

STEPS = ("preprocess", "backbone", "proposal", "mask", "postprocess")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for count in (0, 3):
        (folder / f"{count}.png").write_bytes(standin.picture(count))
    return folder


@pytest.mark.triton
@pytest.mark.parametrize("python", [False, True], ids=["in process", "in Python"])
def test_each_step_is_timed_alone(python: bool, repository: Path, images: Path) -> None:
    device.backend()
    result = measure(repository, images, rounds=6, python=python)
    stubs = {process["name"] for process in result["server_processes"] if process["name"].startswith("stub")}
    assert len(stubs) == (7 if python else 4)
    assert tuple(result["computing_by_step"]) == STEPS
    infer = {step["model"]: step["compute_infer_us"] / 1e3 for step in result["triton_by_step"]}
    for request in result["requests"]:
        assert all(request[step] > 0 for step in STEPS), ENSEMBLE
        assert sum(request[step] for step in STEPS) < request["latency"]
    # What Triton counts of a model in Python holds what its code computes, and more: the way there and back.
    for step in STEPS if python else ("preprocess", "postprocess"):
        assert sum(request[step] for request in result["requests"]) / 6 < infer[step], step
    assert "_timed" not in (model_of(repository, "preprocess") / "1" / "model.py").read_text(encoding="utf-8")


def test_a_folder_without_images_is_named(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=str(tmp_path)):
        measure(repository, tmp_path, rounds=2, python=False)
