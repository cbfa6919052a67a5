"""One batch size: the sides checked, counted and timed in turn."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from maskline_train.training.graphs import SEEN

from maskline_bench.errors import BenchmarkError
from maskline_bench.measure import Timing, gflop, interleave, paired_ratio
from maskline_bench.train_step.counting import launches, peak_mib, synchronisations
from maskline_bench.train_step.setting import OUR_SIDES, OURS, PEERS, STEPS, Setting
from maskline_bench.train_step.sides import Material, Steps, make_material, make_side

LOSS_TOLERANCE = 0.25  # of the sum: the sides draw other anchors and RoIs


@dataclasses.dataclass
class Run:
    """A side under way, and what is known of it.

    Attributes:
        steps: makes steps.
        figures: JSON-ready.
    """

    steps: Steps
    figures: dict[str, Any]


def measure(
    setting: Setting,
    names: Sequence[str],
    *,
    warmup: int,
    rounds: int,
    threads: int,
    limit: float,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Every figure of every side at one batch size.

    Args:
        setting: with the batch size.
        names: of the sides.
        warmup: uncounted rounds, of `STEPS` steps a side.
        rounds: counted ones.
        threads: of the processes that memory is measured in.
        limit: GFLOP/s of a matrix product on the device, in the type that ours computes in.
        tell: called with a line of what is being done.

    Raises:
        BenchmarkError: the sides do not compute the same.
    """  # fmt: skip
    torch.compiler.reset()  # else a second batch size were compiled for any
    material = make_material(setting)
    runs: dict[str, Run] = {}
    for name in names:
        tell(f"batch {setting.batch}: the first steps of {name}")
        runs[name] = _begin(name, material, runs)
    check_losses({name: run.figures["losses_first_step"] for name, run in runs.items()}, PEERS[setting.device])
    if setting.device == "cuda":
        _count(runs, STEPS[setting.device])
    timings = _time(runs, setting, warmup=warmup, rounds=rounds, tell=tell)
    peer = timings[PEERS[setting.device]]
    for name, run in runs.items():
        if setting.device == "cpu":
            tell(f"batch {setting.batch}: the memory of {name}, in a process of its own")
            run.figures["peak_mib"] = peak_mib(name, setting, threads)
        timing = timings[name]
        run.figures |= {
            "images_per_second": setting.batch / timing.median,
            "share_of_gemm_peak": run.figures["gflop"] / timing.median / limit,
            "ratio_of_medians": peer.median / timing.median,
            "median_of_ratios": paired_ratio(peer, timing),
            "timing": timing.to_dict(),
        }
    return {"batch": setting.batch, "sides": {name: run.figures for name, run in runs.items()}}


def check_losses(losses: Mapping[str, Mapping[str, float]], peer: str) -> None:
    """Raise BenchmarkError unless the sides' first losses are finite and add up to about what the peer's do."""
    sums = {side: sum(values.values()) for side, values in losses.items()}
    if not all(math.isfinite(value) for value in sums.values()):
        raise BenchmarkError(f"losses of the first step are not finite: {losses}")
    for side, value in sums.items():
        if abs(value - sums[peer]) > LOSS_TOLERANCE * sums[peer]:
            raise BenchmarkError(
                f"losses of the first step: got {value:.4g} ({side}) and {sums[peer]:.4g} ({peer}), expected them "
                f"within {LOSS_TOLERANCE:.0%}: the two sides do not compute the same"
            )


def _begin(name: str, material: Material, before: Mapping[str, Run]) -> Run:
    """Build a side and make its first steps; on a GPU its memory is what it adds to that of the sides before it."""
    on_gpu = material.setting.device == "cuda"
    held = torch.cuda.memory_allocated() if on_gpu else 0
    steps = make_side(name, material)
    first: dict[str, float] = {}
    if name in OUR_SIDES and name != OURS:  # the same arithmetic as ours, in calls that cannot be counted
        first.update(steps(1))
        figures: dict[str, Any] = {"gflop": before[OURS].figures["gflop"]}
    else:
        figures = {"gflop": gflop(lambda: first.update(steps(1)))}
    figures["losses_first_step"] = first
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        steps(SEEN + 1)  # with a recording, where the side makes one
        figures["peak_mib"] = (torch.cuda.max_memory_allocated() - held) / 2**20
    return Run(steps, figures)


def _count(runs: Mapping[str, Run], steps: int) -> None:
    """Launches of a step, and synchronisations of a step in the mean of a round."""
    for run in runs.values():
        run.figures["launches_a_step"] = launches(lambda run=run: run.steps(1))  # type: ignore[misc]
        run.figures["synchronisations_a_step"] = (
            synchronisations(lambda run=run: run.steps(steps)) / steps  # type: ignore[misc]
        )


def _time(
    runs: Mapping[str, Run], setting: Setting, *, warmup: int, rounds: int, tell: Callable[[str], None]
) -> dict[str, Timing]:
    """Seconds a step of each round, and the last losses."""
    steps = STEPS[setting.device]

    def call(run: Run) -> Callable[[int], None]:
        return lambda _: run.figures.update(losses_last_step=run.steps(steps))

    timed = interleave(
        {name: call(run) for name, run in runs.items()}, warmup=warmup, rounds=rounds,
        tell=lambda line: tell(f"batch {setting.batch}: {line}"),
    )  # fmt: skip
    return {name: Timing(name, tuple(s / steps for s in timing.seconds)) for name, timing in timed.items()}
