"""Whole files or none: write beside the target, then rename."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image


def write_json(path: Path, data: Any) -> None:
    """Write JSON; a file of that name is replaced in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(json.dumps(data, allow_nan=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def write_png(path: Path, image: Image.Image) -> None:
    """Write a picture as PNG; a file of that name is replaced in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    image.save(temporary, "PNG", compress_level=4)
    temporary.replace(path)
