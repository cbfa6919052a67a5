"""Whole files or none: write beside the target, then rename."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image


def write_json(path: Path, data: Any) -> None:
    """Write JSON; a file of that name is replaced in one step.

    Raises:
        ValueError: a number in it is NaN or infinite, which JSON cannot say.
        OSError: the file cannot be written; the old one stays, nothing is left behind.
    """
    text = json.dumps(data, allow_nan=False) + "\n"
    with _replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_png(path: Path, image: Image.Image) -> None:
    """Write a picture as PNG; a file of that name is replaced in one step.

    Raises:
        OSError: as `write_json`.
    """
    with _replacing(path) as temporary:
        image.save(temporary, "PNG", compress_level=4)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it when the block ends well and removed when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
