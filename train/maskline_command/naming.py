"""Failures to write name the file that was asked for: neither none, as on a full disk, nor a temporary one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Give an OSError the name `path` where it has none, and in place of `temporary` or of what that begins."""
    try:
        yield
    except OSError as error:
        named = error.filename if error.filename2 is None else error.filename2  # of a copy, where it goes
        found = str(path) if named is None else os.fsdecode(named)
        if temporary is not None and Path(found).is_relative_to(temporary):
            found = str(path / Path(found).relative_to(temporary))
        if error.errno is None or found == error.filename:
            raise
        raise OSError(error.errno, os.strerror(error.errno), found) from error
