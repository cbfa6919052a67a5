"""The JSON file of a benchmark's figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskline_train.files import replace_file

from maskline_bench.errors import BenchmarkError


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a result whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, (json.dumps(content, indent=1) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """A result that was written.

    Raises:
        BenchmarkError: no such file, or no JSON object in it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"{path}: cannot be read ({error}), expected a benchmark's --json file") from error
    if not isinstance(content, dict):
        raise BenchmarkError(f"{path}: got {type(content).__name__}, expected a benchmark's --json file")
    return content
