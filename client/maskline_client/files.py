"""Whole files or none: write beside the target, then rename."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from maskline_command.naming import naming
from PIL import Image


def write_text(path: Path, text: str) -> None:
    """Write a text; a file of that name is replaced in one step.

    Raises:
        OSError: the file cannot be written; the old one stays, nothing is left behind.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, data: Any) -> None:
    """Write JSON on one line; a file of that name is replaced in one step.

    Raises:
        ValueError: a number in it is NaN or infinite, which JSON cannot say.
        OSError: as `write_text`.
    """
    write_text(path, json.dumps(data, allow_nan=False) + "\n")


def write_png(path: Path, image: Image.Image) -> None:
    """Write a picture as PNG; a file of that name is replaced in one step.

    Raises:
        OSError: as `write_text`.
    """
    data = io.BytesIO()  # Pillow takes a short write of a disk that runs full for a whole one
    image.save(data, "PNG", compress_level=4)
    with replacing(path) as temporary:
        temporary.write_bytes(data.getvalue())


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it when the block ends well and removed when it does not.

    Two processes that write one name get two temporary names: the later one wins, and neither file is a mixture.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with naming(path, temporary):
            yield temporary
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
