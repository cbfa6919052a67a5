"""The benchmark of training steps: sides that compute otherwise are not timed, and what is counted is counted right."""

from __future__ import annotations

import io
import json
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from maskline_bench.errors import BenchmarkError
from maskline_bench.owed.items import ITEMS
from maskline_bench.train_step import counting
from maskline_bench.train_step.__main__ import check_without, main
from maskline_bench.train_step.measuring import check_losses
from maskline_bench.train_step.setting import (
    AUTOCAST,
    BOTH,
    CHANNELS_LAST,
    COMPILED,
    OURS,
    PEERS,
    SIDES,
    STEPS,
    THEIRS,
    Setting,
    left_out,
)
from maskline_bench.train_step.show import show
from maskline_bench.train_step.sides import LOSS_NAMES, make_material, make_side
from rich.console import Console


def test_both_sides_take_the_same_step() -> None:
    """Of the same weights, pictures and targets.

    Each side draws its own anchors, of random scores. RoIs are too few to be drawn from; a proposal on a threshold of
    NMS is one of hundreds.
    """
    material = make_material(Setting(64, 64, 2, 1))
    ours, theirs = (make_side(side, material)(1) for side in (OURS, THEIRS))
    assert set(ours) == set(theirs) == set(LOSS_NAMES.values())
    for name, loss in ours.items():
        assert loss == pytest.approx(theirs[name], rel=0.05 if name == "rpn_objectness" else 0.02), name


def test_sides_that_compute_otherwise_are_not_timed() -> None:
    peer = {"box": 1.0, "mask": 3.0}
    check_losses({OURS: {"box": 1.9, "mask": 3.0}, THEIRS: peer}, THEIRS)
    with pytest.raises(BenchmarkError, match=r"got 5.1 \(maskline, compiled\) and 4 \(torchvision\), expected them wi"):
        check_losses({OURS: peer, COMPILED: {"box": 2.1, "mask": 3.0}, THEIRS: peer}, THEIRS)
    with pytest.raises(BenchmarkError, match="not finite"):
        check_losses({OURS: {"box": math.nan}, THEIRS: peer}, THEIRS)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_no_run_is_without_ours_and_the_peer(device: Any) -> None:
    assert not {OURS, PEERS[device]} & set(left_out(device, quick=True))
    check_without([COMPILED, CHANNELS_LAST], device)
    for side in (OURS, PEERS[device], "detectron2"):
        with pytest.raises(BenchmarkError, match=f"--without: got '{side}', expected one of .*'{CHANNELS_LAST}'"):
            check_without([side], device)


def test_a_gpu_leaves_nothing_out_and_a_cpu_says_why() -> None:
    assert not left_out("cuda", quick=False)
    assert set(left_out("cpu", quick=False)) == {*SIDES, "launches", "synchronisations"} - {OURS, THEIRS}
    assert set(left_out("cuda", quick=True)) == {COMPILED, BOTH}


def test_launches_are_those_of_a_profile() -> None:
    names = [
        *("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx"),
        *("cudaLaunchCooperativeKernel", "cudaGraphLaunch"),
    ]
    others = [
        *("cudaMemcpyAsync", "cudaMemsetAsync", "cudaStreamSynchronize", "cudaLaunchHostFunc", "aten::mm"),
        *("triton_poi_fused_add_0", "void cudnn::cudaLaunchKernel_like<float>"),
    ]
    assert counting.count_launches([*names, *others, "cuLaunchKernel"]) == len(names) + 1


def test_each_wait_is_counted_and_the_mode_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's mode cannot be switched on without a GPU: here a step warns in its words, twice from one line."""
    modes: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    def step() -> None:
        assert modes == ["warn"]
        for _ in range(2):
            warnings.warn("called a synchronizing CUDA operation (Triggered internally at x.cpp:1.)", stacklevel=1)
        warnings.warn("another", stacklevel=1)

    assert counting.synchronisations(step) == 2
    assert modes == ["warn", "default"]


def test_a_memory_run_that_fails_says_so() -> None:
    with pytest.raises(BenchmarkError, match=r"the memory run of maskline failed: TypeError: "):
        counting.peak_mib(OURS, Setting("no height", 64, 2, 1), 1)  # type: ignore[arg-type]


def figures(rate: float, times: float, **more: float) -> dict[str, Any]:
    losses = {"box": 1.0, "mask": 2.0}
    return {
        "images_per_second": rate, "share_of_gemm_peak": 0.25, "gflop": 100.0, "peak_mib": 1000.0,
        "ratio_of_medians": times, "median_of_ratios": times, "losses_first_step": losses, "losses_last_step": losses,
        "timing": {"median_s": 1.0, "min_s": 0.5, "p90_s": 2.0}, **more,
    }  # fmt: skip


def test_gains_are_told_by_batch_size() -> None:
    counted = {"launches_a_step": 1234, "synchronisations_a_step": 0.1}
    sides = [{OURS: figures(70 + i, 3 - i, **counted), AUTOCAST: figures(20, 1)} for i in range(2)]
    text = io.StringIO()
    setting = {"height": 800, "width": 1088, "objects": 10, "steps_a_round": STEPS["cuda"]}
    batches = [{"batch": size, "sides": each} for size, each in zip((2, 8), sides, strict=True)]
    result = {
        "setting": setting,
        "ops": "PyTorch",
        "peer": AUTOCAST,
        "left_out": {COMPILED: "by hand"},
        "batches": batches,
    }
    show(Console(file=text, width=160), result)
    shown = text.getvalue()
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if "│" in line]
    assert [OURS, "3.000, 3.000", "2.000, 2.000"] in lines
    assert next(line for line in lines if line[0] == OURS)[-3:] == ["1234", "0.1", "1000"]
    assert "left out: maskline, compiled: by hand" in shown


def test_the_item_reads_the_faster_of_ours_and_the_most_synchronisations() -> None:
    (item,) = (item for item in ITEMS if item.name == "training")
    slow, fast = (figures(100, 2, synchronisations_a_step=4), figures(140, 3, synchronisations_a_step=0.1))
    peer = figures(50, 1, synchronisations_a_step=30)
    small = {OURS: figures(75, 3, synchronisations_a_step=0.1), AUTOCAST: peer}
    batches = [{"batch": 2, "sides": small}, {"batch": 8, "sides": {OURS: slow, COMPILED: fast, AUTOCAST: peer}}]
    assert [limit.read({"batches": batches}) for limit in item.limits] == [140, 3, 4, 75]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_smoke_run_writes_every_figure(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    main(quick=True, threads=1, json_file=tmp_path / "result.json")
    torch.set_num_threads(threads)
    result = json.loads((tmp_path / "result.json").read_text())
    assert set(result["left_out"]) == {*SIDES, "launches", "synchronisations"} - {OURS, THEIRS}
    (batch,) = result["batches"]
    assert batch["batch"] == 1
    for side in batch["sides"].values():
        assert side["images_per_second"] == pytest.approx(1 / side["timing"]["median_s"])
        assert 200 < side["peak_mib"] < 10_000  # a network of 44 million weights, and less than a small machine has
    assert batch["sides"][THEIRS]["ratio_of_medians"] == 1
