"""What is owed to a GPU: the list, its state, its page, and that every script runs as far as a CPU goes."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from maskline_bench.errors import BenchmarkError
from maskline_bench.owed import __main__ as owed
from maskline_bench.owed import machine
from maskline_bench.owed.fallback import nodes_of
from maskline_bench.owed.item import Item, Limit, card_slug, state_of
from maskline_bench.owed.items import ITEMS
from maskline_bench.owed.page import page
from maskline_bench.owed.running import run_item
from maskline_bench.owed.said import summary
from maskline_bench.owed.steady_memory import growth
from support.export import pycuda_standin

ROOT = Path(__file__).parents[3]
RATE = Limit("images/s", lambda result: result["rate"], at_least=10)
ITEM = Item("speed", "is fast", ("gpu",), "no.module", (), (), "speed_{card}.json", (RATE,))
ON_MADE_MODEL = ("compare", "same_answers", "fallback", "steady_memory", "device_decode")
# The same script once more; and one of a chain, which has a test of its own.
AGAIN = ("memory_2", "tensorrt_full", "full_size_1", "full_size_2", "full_size_3", "full_size")
SCRIPTS = [item for item in ITEMS if item.name not in AGAIN]


def write(folder: Path, name: str, **content: Any) -> None:
    machine_of = {"gpu": "NVIDIA H100 80GB HBM3"}
    (folder / name).write_text(json.dumps({"when": "2026-11-27T10:00:00", "machine": machine_of, **content}))


def test_every_item_is_whole() -> None:
    assert len({item.name for item in ITEMS}) == len(ITEMS)
    for item in ITEMS:
        assert item.minutes <= 8
        assert item.limits, item.name
        assert set(item.needs) <= set(machine.NEEDS), item.name
        assert "{card}" in item.file
        for limit in item.limits:
            assert (limit.at_least is None) != (limit.at_most is None), limit.what


def test_a_result_is_shown_or_missed_and_nothing_is_owed(tmp_path: Path) -> None:
    assert state_of(ITEM, tmp_path).outcome == "owed"
    write(tmp_path, "speed_h100.json", rate=9.9)
    missed = state_of(ITEM, tmp_path)
    assert (missed.outcome, missed.when, missed.card, missed.figures) == (
        "missed", "2026-11-27", "NVIDIA H100 80GB HBM3", (9.9,)
    )  # fmt: skip
    write(tmp_path, "speed_h200.json", rate=10.0, when="2026-11-28T10:00:00")
    assert state_of(ITEM, tmp_path).outcome == "shown"  # the newest counts


def test_a_result_of_a_cpu_or_of_a_tiny_network_shows_nothing(tmp_path: Path) -> None:
    write(tmp_path, "speed_h100.json", rate=11, quick=True)
    write(tmp_path, "speed_2core.json", rate=11, machine={"cpu": "AMD EPYC"})
    assert state_of(ITEM, tmp_path).outcome == "owed"


def test_no_number_lies_nowhere() -> None:
    assert not RATE.holds(float("nan"))
    assert not Limit("ms", RATE.read, at_most=5).holds(float("nan"))
    assert Limit("failures", RATE.read, at_most=0).holds(0)


def test_a_result_that_lacks_a_figure_is_named(tmp_path: Path) -> None:
    write(tmp_path, "speed_h100.json")
    with pytest.raises(BenchmarkError, match=r"speed_h100.json: expected the figures of `speed`, got none at .*'rate'"):
        state_of(ITEM, tmp_path)


def test_the_committed_page_is_what_the_command_writes() -> None:
    written = page(ROOT / "docs" / "benchmarks")
    assert (ROOT / "docs" / "ran_where.md").read_text("utf-8") == written, "run `make ran-where`"


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("NVIDIA A100-SXM4", "a100-sxm4"),
    ],
)
def test_a_card_has_a_name_for_files(name: str, slug: str) -> None:
    assert card_slug(name) == slug


def test_what_a_run_of_check_gpu_says() -> None:
    found = summary("== build: exit 0\n3 passed, 2 skipped in 4 s\n== tests: exit 0\n1 failed, 7 passed\n== x: exit 9")
    assert found["parts"] == {"build": 0, "tests": 0, "x": 9}
    assert found["tests"] == {"passed": 10, "failed": 1, "skipped": 2, "error": 0}


def test_memory_that_grows_is_found_and_a_pool_that_fills_is_not() -> None:
    pool = [100.0] * 5 + [400.0] * 25
    assert growth(pool) == 0
    assert growth([value + 10 * index for index, value in enumerate(pool)]) == pytest.approx(100)


def test_a_profile_names_the_provider_of_each_node(tmp_path: Path) -> None:
    def event(name: str, **args: str) -> dict[str, Any]:
        return {"cat": "Node", "name": name, "args": args}

    events = [
        event("conv_kernel_time", op_name="Conv", provider="CUDAExecutionProvider"),
        event("conv_fence_before", op_name="Conv"),
        event("shape_kernel_time", op_name="Shape", provider="CPUExecutionProvider"),
        {"cat": "Session", "name": "model_run"},
    ]
    (tmp_path / "p.json").write_text(json.dumps(events))
    assert nodes_of(tmp_path / "p.json") == [("Conv", "CUDAExecutionProvider"), ("Shape", "CPUExecutionProvider")]


def call(monkeypatch: pytest.MonkeyPatch, item: Item, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", [item.module, *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(item.module, run_name="__main__", alter_sys=True)
    return int(ended.value.code or 0)


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.name)
def test_every_script_takes_its_arguments_and_is_refused_without_a_gpu(
    item: Item, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert call(monkeypatch, item, *item.arguments, "--json", str(tmp_path / "result.json")) == 1
    assert "got no GPU, expected one" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.long
@pytest.mark.triton
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("item", SCRIPTS, ids=lambda item: item.name)
def test_every_script_runs_on_a_cpu_and_its_result_has_every_figure(
    item: Item, tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    if item.name == "by_pycuda" and not pycuda_standin.is_installed():
        pycuda_standin.install(monkeypatch)
    places = ("--made", str(made)) if item.module.split(".")[-1] in ON_MADE_MODEL else ()
    file = tmp_path / "result.json"
    assert call(monkeypatch, item, *item.trial, *places, "--json", str(file)) == 0
    if item.name == "ops":  # in the emulator it checks and times nothing
        return
    result = json.loads(file.read_text("utf-8"))
    if item.name == "engines":  # of one batch size
        result["batches"].append({**result["batches"][0], "batch": 8})
    if item.name == "training":  # of one batch size too, and a CPU waits for nothing
        (only,) = result["batches"]
        for figures_of_side in only["sides"].values():
            figures_of_side["synchronisations_a_step"] = 0
        result["batches"] = [{**only, "batch": size} for size in (2, 8)]
    figures = {limit.what: float(limit.read(result)) for limit in item.limits}
    assert all(figure == figure for figure in figures.values()), figures
    for what in ("nodes at another provider", "failed requests", "exit status", "tests failed"):
        assert figures.get(what, 0) == 0, figures


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("made")


def test_a_failing_script_leaves_its_log_and_no_result(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"speed: exit status 1: .*no.*; its output: .*speed.log"):
        run_item(ITEM, tmp_path / "results", tmp_path / "logs")
    assert not (tmp_path / "results").exists()
    assert (tmp_path / "logs" / "speed.log").read_text("utf-8")


def test_items_are_chosen_by_name_or_by_what_is_owed(tmp_path: Path) -> None:
    assert [item.name for item in owed.wanted(["engines"], tmp_path, again=False)] == ["engines"]
    assert owed.wanted([], tmp_path, again=False) == list(ITEMS)
    left = [item.name for item in owed.wanted([], ROOT / "docs" / "benchmarks", again=False)]
    assert "engines" not in left
    assert "tensorrt" in left
    with pytest.raises(BenchmarkError, match=r"--only: got speedy, expected one of through_triton, "):
        owed.wanted(["speedy"], tmp_path, again=False)


def test_the_list_says_how_to_bring_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    if machine.card():
        pytest.skip("this machine has a GPU: nothing may be missing")
    owed.main(only=None, again=False, list_only=True, results=ROOT / "docs" / "benchmarks", write_page=False)
    shown = capsys.readouterr().out
    assert all(item.name in shown for item in ITEMS)
    assert "'onnxruntime-gpu[cuda,cudnn]>=1.28'" in shown  # whole: brackets are no markup here
