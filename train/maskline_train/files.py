"""Whole files and whole folders, or none: written beside the target under another name, flushed, renamed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place once the block has ended without an error."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        flush(temporary)  # so that a power cut cannot leave the new name with old or no bytes
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a kill, sees the old one or the new one and nothing between."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def point(link: Path, folder: Path) -> None:
    """Make `link` a symbolic link to `folder`, relative to where the link lies, in one rename."""
    temporary = link.with_name(f".{link.name}.tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(folder, link.parent), target_is_directory=True)
    temporary.replace(link)
    flush(link.parent)


@contextlib.contextmanager
def whole_folder(out: Path, error: type[ValueError]) -> Iterator[Path]:
    """A scratch folder that becomes `out` when all went well, and nothing otherwise.

    Args:
        out: a folder that does not exist yet.
        error: what is raised where it does.
    """
    refuse_existing(out, error)
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield scratch
        scratch.chmod(0o755)  # mkdtemp's 0700 would hide the folder from other users
        scratch.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def refuse_existing(out: Path, error: type[ValueError]) -> None:
    """Raise `error` where `out` exists: for commands that work long before they write."""
    if out.exists():
        raise error(f"{out}: exists already, expected a new folder; remove it or choose another name")


def flush(path: Path) -> None:
    """Force a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
