"""Folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from maskline_train.files import naming

from maskline_export.errors import ExportError


@contextlib.contextmanager
def written_whole(out: Path, marker: str, kind: str) -> Iterator[Path]:
    """An empty folder beside `out` that takes its place when the block ends well; else nothing is left behind.

    Args:
        out: folder to create. One that holds `marker` or nothing is replaced.
        marker: the file by which a folder of this kind is known.
        kind: what such a folder is called, such as "an artifact folder".

    Raises:
        ExportError: `out` is there and is something else.
    """
    if out.exists() and not (out.is_dir() and ((out / marker).is_file() or not any(out.iterdir()))):
        raise ExportError(f"{out}: exists and is not {kind}; expected a new folder, or {kind} to replace")
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = out.with_name(f".{out.name}.{secrets.token_hex(4)}")
    folder = scratch / "new"
    try:
        with naming(out, scratch):
            folder.mkdir(parents=True)
        with naming(out, folder):
            yield folder
        if out.exists():
            out.rename(scratch / "replaced")  # removed with the scratch folder
        folder.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
