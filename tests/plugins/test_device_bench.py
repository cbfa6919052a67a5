"""The GPU benchmark's cases pass their own checks with the kernels in the emulator, and say what is missing."""

import os
import subprocess
import sys

import device


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "maskline_bench.device_ops", "--build", str(device.BUILD), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )


def test_every_case_agrees_with_its_peer_in_the_emulator() -> None:
    result = _run("--dry-run", "--batch", "2")
    assert result.returncode == 0, result.stderr
    assert "all checks passed" in result.stdout
    assert all(name in result.stdout for name in ("G3", "G4", "G5", "G6", "G7"))


def test_without_a_gpu_nothing_is_timed() -> None:
    result = _run()
    assert result.returncode == 1
    assert "got no GPU, expected one; nothing was timed" in result.stderr
