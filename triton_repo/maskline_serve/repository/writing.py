"""How a repository gets its name: whole, in the place of an old one, with failures that say which."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def naming(folder: Path) -> Iterator[None]:
    """Give an OSError the name of the repository, where it has none: a full disk names no file."""
    try:
        yield
    except shutil.Error as error:  # copytree's: a list of (source, target, why)
        raise OSError(errno.EIO, str(error.args[0][0][2]), str(folder)) from error
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(folder)) from error


def swap(staging: Path, folder: Path) -> None:
    """Put `staging` in the place of `folder`; the old one goes away with the staging name."""
    if not folder.exists():
        staging.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    folder.rename(old)
    _or_undo(lambda: staging.rename(folder), lambda: old.rename(folder))
    shutil.rmtree(old, ignore_errors=True)


def _or_undo(act: Callable[[], object], undo: Callable[[], object]) -> None:
    """Do `act`; if it fails, `undo` and raise what failed."""
    try:
        act()
    except BaseException:
        undo()
        raise
