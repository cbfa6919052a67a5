"""Files that a command writes at its end: whether they can be written is known at its start."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path


def refuse_unwritable(*files: Path | None) -> None:
    """Try that files can be made where they will be written; None: nothing to write. Nothing is left there.

    Raises:
        OSError: a place where no such file can be: a folder of its name, a file on the way there, no right to write.
    """
    for file in files:
        if file is None:
            continue
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
        nearest = next(folder for folder in file.absolute().parents if os.path.lexists(folder))
        if not nearest.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(file))
        try:
            with tempfile.TemporaryFile(dir=nearest):
                pass
        except OSError as error:
            raise OSError(error.errno, os.strerror(error.errno or errno.EIO), str(file)) from error
