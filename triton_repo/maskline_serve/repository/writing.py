"""How a repository gets its name: whole, in the place of an old one, with failures that say which."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from maskline_command.naming import naming as naming_os_errors


@contextlib.contextmanager
def naming(folder: Path, staging: Path) -> Iterator[None]:
    """Give an OSError the name of the repository, where it has none or that of the staging folder."""
    with naming_os_errors(folder, staging):
        try:
            yield
        except shutil.Error as error:  # copytree's: a list of (source, target, an OSError's text)
            found = re.match(r"\[Errno (\d+)\]", str(error.args[0][0][2]))
            number = int(found[1]) if found else errno.EIO
            raise OSError(number, os.strerror(number), str(folder)) from error


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
