"""Whole files and whole folders, or none: written beside the target under another name, flushed, renamed."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from maskline_command.naming import naming as naming_os_errors
from PIL import Image

FULL_BYTES = 1 << 20  # a disk with less left counts as full where a library does not say why it failed


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place once the block has ended without an error.

    Whatever library writes it, the file has the mode that the umask gives, and a failure is an OSError with the name.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with naming(path, temporary):
            temporary.touch()
            mode = temporary.stat().st_mode
            yield temporary
            temporary.chmod(mode)  # safetensors makes a file of its own, for its owner alone
        flush(temporary)  # so that a power cut cannot leave the new name with old or no bytes
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Turn what libraries raise when they cannot write into an OSError with the file's name, not the temporary one."""
    try:
        with naming_os_errors(path, temporary):
            yield
    except OSError:
        raise
    except Exception as error:
        # safetensors has an error of its own, torch.save raises RuntimeError.
        said = " ".join(str(error).split())
        known = ("os error", "PytorchStreamWriter", "iostream error", "No space left", "unexpected pos")
        if not any(text in said for text in known):
            raise
        full = "No space left" in said or shutil.disk_usage(path.parent).free < FULL_BYTES
        number = errno.ENOSPC if full else errno.EIO
        raise OSError(number, f"{os.strerror(number)} ({said})", str(path)) from error


def save_image(path: Path, image: Image.Image, image_format: str, **options: Any) -> None:
    """Write a picture, whole or not at all: Pillow takes a short write of a disk that runs full for a whole one."""
    data = io.BytesIO()
    image.save(data, image_format, **options)
    try:
        with naming(path):
            path.write_bytes(data.getvalue())
    except OSError:
        path.unlink(missing_ok=True)
        raise


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
    scratch = out.with_name(f".{out.name}.{secrets.token_hex(4)}")  # not mkdtemp, whose folders nobody else can enter
    try:
        with naming_os_errors(out, scratch):
            scratch.mkdir()
            yield scratch
            scratch.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def refuse_existing(out: Path, error: type[Exception]) -> None:
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
