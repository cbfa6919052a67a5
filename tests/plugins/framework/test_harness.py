"""The plugins in the harness: everything that TensorRT asks of a plugin, with kernels in the emulator or on a GPU."""

from __future__ import annotations

import play_tensorrt
import pytest
import torch

CASES = (
    "MultiscaleRoIAlign, fixed average",
    "MultiscaleRoIAlign, adaptive maximum",
    "ProposalNMS, three levels",
    "ClasswiseNMS, five classes",
    "MaskRLE, discs and noise",
)
WITHOUT_KERNELS = (
    "announced fields",
    "capabilities",
    "other field types",
    "clone",
    "timing cache text",
    "serialization",
    "output types",
    "output shapes, symbolic",
    "output shapes, known",
    "workspace",
    "format combinations",
    "bad fields",
    "no fields, one twice",
    "bad shapes",
    "bad counts and types",
)


def statuses(rows: list[play_tensorrt.Row]) -> dict[tuple[str, str], str]:
    """Status by case and check, with the reason of what did not pass."""
    return {
        (row.op, row.check): row.status if row.status == "passed" else f"{row.status}: {row.detail}" for row in rows
    }


def test_plugins_over_the_emulator_do_all_that_tensorrt_asks_but_graphs() -> None:
    found = statuses(play_tensorrt.checks(play_tensorrt.TRT_SIMT))
    expected = {("", "library opens"): "passed"}
    for case in CASES:
        expected |= {(case, check): "passed" for check in (*WITHOUT_KERNELS, "enqueue", "two threads")}
        expected[case, "CUDA graph"] = "not run: no GPU: the kernels run in the emulator"
    assert found == expected


def test_the_plugins_themselves_run_as_far_as_the_machine_goes() -> None:
    rows = play_tensorrt.checks(play_tensorrt.TRT)
    found = statuses(rows)
    assert found["", "library opens"] == "passed"
    on_gpu = torch.cuda.is_available()
    for case in CASES:
        checks = (*WITHOUT_KERNELS, "enqueue", "two threads", "CUDA graph") if on_gpu else WITHOUT_KERNELS
        assert {check: found[case, check] for check in checks} == dict.fromkeys(checks, "passed")
    not_run = [row for row in rows if row.status == "not run"]
    assert len(not_run) == (0 if on_gpu else len(CASES))
    assert all(row.detail.startswith("no GPU: ") for row in not_run)


@pytest.mark.parametrize(
    ("fault", "check", "detail"),
    [
        ("", "enqueue", "the host library gives"),  # zeros in the place of every mask
        ("refuse", "enqueue", "the launch was refused: invalid configuration argument"),
        ("overrun", "enqueue", "wrote outside of tensor 4"),  # an int past the end of `counts`
        ("underrun", "enqueue", "wrote outside of tensor 4"),  # an int before it
        ("input", "enqueue", "changed input 1"),
        ("chance", "enqueue", "the second run gives other bytes"),  # a result that changes from run to run
        ("chance", "two threads", "other bytes than without threads"),
    ],
)
def test_the_harness_notices(fault: str, check: str, detail: str) -> None:
    rows = play_tensorrt.checks(play_tensorrt.FAULTY, "MaskRLE", MASKLINE_FAULT=fault)
    (row,) = (row for row in rows if row.check == check)
    assert row.status == "failed"
    assert detail in row.detail


@pytest.mark.parametrize(
    ("op", "check", "detail"),
    [
        ("MultiscaleRoIAlign", "enqueue", "an element is not written"),  # nothing is
        ("ProposalNMS", "workspace", "a smaller shape needs 1024 bytes, the largest 0"),
        ("ProposalNMS", "enqueue", "wrote outside of the workspace of 0 bytes"),
    ],
)
def test_the_harness_notices_of_other_ops(op: str, check: str, detail: str) -> None:
    rows = [row for row in play_tensorrt.checks(play_tensorrt.FAULTY, op) if row.check == check]
    assert rows
    for row in rows:
        assert row.status == "failed"
        assert detail in row.detail


def test_a_library_that_is_none_is_a_failure(tmp_path) -> None:
    text = tmp_path / "libnothing_simt.so"
    text.write_text("not a library")
    finished = play_tensorrt.start("run", text)
    assert finished.returncode == 1
    assert "invalid ELF header" in finished.stdout or "file too short" in finished.stdout


def test_help_and_mistakes() -> None:
    assert "maskline_harness create" in play_tensorrt.start("--help").stdout
    finished = play_tensorrt.start("run", "--colour")
    assert finished.returncode == 2
    assert finished.stderr == "error: unknown option --colour; see maskline_harness --help\n"
    finished = play_tensorrt.start("create", "somewhere.so")
    assert finished.returncode == 2
    assert "expected LIBRARY and OP" in finished.stderr
