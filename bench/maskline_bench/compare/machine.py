"""The machine behind a comparison: its peaks in the types that are compared, its clocks as they were found."""

from __future__ import annotations

import statistics
import subprocess
from pathlib import Path

import torch

from maskline_bench.measure import gemm_gflop_s
from maskline_bench.owed.task import Device

_TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_ASKED = "clocks.sm,clocks.mem,clocks.max.sm,power.limit,persistence_mode"


def peaks(device: Device, precisions: set[str]) -> dict[str, float]:
    """GFLOP/s of a matrix product by precision."""
    return {name: gemm_gflop_s(device, _TYPES[name]) for name in sorted(precisions)}


def clocks(device: Device) -> dict[str, str]:
    """As found: nobody sets them."""
    if device == "cuda":
        command = ["nvidia-smi", f"--query-gpu={_ASKED}", "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        values = done.stdout.splitlines()[0].split(",") if done.stdout else []
        return {name: value.strip() for name, value in zip(_ASKED.split(","), values, strict=False)}
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    found = [float(line.split(":")[1]) for line in lines if line.startswith("cpu MHz")]
    return {"cores": f"{statistics.median(found):.0f} MHz"} if found else {}
