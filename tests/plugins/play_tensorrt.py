"""The program that plays TensorRT to the plugins (plugins/testing/harness), run as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import device

TRT, TRT_SIMT, FAULTY, TRITON = (
    "libmaskline_trt.so",
    "libmaskline_trt_simt.so",
    "libmaskline_faulty_simt.so",
    "libmaskline_triton.so",
)


@dataclass(frozen=True)
class Row:
    """One check: `status` is `passed`, `failed` or `not run`."""

    library: str
    op: str
    check: str
    status: str
    detail: str


def start(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the harness with these arguments."""
    command = [device.built("maskline_harness"), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=240, env={**os.environ, **environment}, check=False
    )


def checks(library: str, op: str | None = None, **environment: str) -> list[Row]:
    """What the harness finds in a library, of one op or of all; its exit code is the number of failures."""
    only = [] if op is None else ["--op", op]
    finished = start("run", device.built(library), "--json", *only, **environment)
    found = json.loads(finished.stdout)
    rows = [Row(**row) for row in found["rows"]]
    assert found["failures"] == finished.returncode == sum(row.status == "failed" for row in rows)
    return rows


def create(op: str, fields: list[str], inputs: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Make one plugin from `NAME:TYPE=VALUES` texts and show it inputs given as `TYPE:SHAPE`."""
    given = [text for field in fields for text in ("--field", field)]
    shown = [text for shape in inputs for text in ("--input", shape)]
    return start("create", device.built(TRT), op, *given, *shown)
