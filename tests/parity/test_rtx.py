"""NVIDIA's own parser and builder take the exported graphs: TensorRT for RTX, on a machine without a GPU.

TensorRT itself cannot be installed from PyPI alone; TensorRT for RTX is a member of its family, with the same ONNX
parser, that builds engines for a GPU that is not there. It takes no custom plugins, so what is built is the bodies.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from maskline_export.manifest import load_artifact
from support.export.exported import Exported

SCRIPT = Path(__file__).parents[1] / "support" / "export" / "rtx_build.py"
TRITON_TO_TENSORRT = {"FP32": "FLOAT", "INT32": "INT32", "UINT8": "UINT8"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorrt_rtx") is None, reason="the package tensorrt-rtx-cu13 is not installed"
    ),
]


def build(path: Path) -> dict[str, Any]:
    done = subprocess.run([sys.executable, SCRIPT, path], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


# test_engine_rtx.py builds engines of all three in every run.
@pytest.mark.parametrize(
    "stage", [*(pytest.param(name, marks=pytest.mark.long) for name in ("backbone", "proposal")), "mask"]
)
def test_dense_stage_parses_and_builds(exported: Exported, stage: str) -> None:
    found = build(exported.dense / f"{stage}.onnx")
    assert found["errors"] == []
    assert found["parsed"]
    assert found["engine_bytes"] > 100_000
    assert not {name for name in found["layers"] if "PLUGIN" in name}
    expected = {
        tensor.name: [
            TRITON_TO_TENSORRT[tensor.dtype],
            [-1 if isinstance(dim, str) else dim for dim in tensor.shape],
        ]
        for tensor in load_artifact(exported.dense).stages[stage].outputs
    }
    assert found["outputs"] == expected
    # the bodies themselves were imported: one sampling a level, one top-k a level and two later, a loop an NMS
    samplings = {"backbone": 0, "proposal": 4, "mask": 4}[stage]
    assert found["layers"].get("GRID_SAMPLE", 0) == samplings
    assert found["layers"].get("TOPK", 0) == (8 if stage == "proposal" else 0)


@pytest.mark.parametrize("stage", ["proposal", "mask"])
def test_what_it_cannot_build_of_the_ort_bodies_is_named(exported: Exported, stage: str) -> None:
    """Why the `dense` bodies exist. NonZero stops the parser first; it would also meet RoiAlign, NonMaxSuppression."""
    found = build(exported.ort / f"{stage}.onnx")
    assert not found["parsed"]
    assert found["errors"][0] in {"NonZero", "NonMaxSuppression", "RoiAlign"}
