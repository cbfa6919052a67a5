"""Reads the JSON file in which a folder says what it holds, and checks the files that it names.

manifest.json of an artifact, engines.json of engines and repository.json of a repository are read by this one piece;
serving stands alone and meets who wrote them only in these files.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from maskline_command.one_line import one_line

from maskline_serve.errors import ServeError


@dataclasses.dataclass(frozen=True)
class Description:
    """One kind of such file.

    Attributes:
        file: its name in the folder.
        format: what its entry `format` must say.
        error: raised where something is wrong.
        absent: what a folder without it is, e.g. "is no artifact".
        make: how to write such a folder, which is put at {folder}.
        again: what to do about a damaged one.
    """

    file: str
    format: str
    error: type[ServeError]
    absent: str
    make: str
    again: str

    def read(self, folder: Path) -> dict[str, Any]:
        """The entries, `format` included; `error` is raised unless they are there and of this release's format."""
        path = folder / self.file
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            make = self.make.format(folder=folder)
            raise self.error(f"{folder} {self.absent} (no {self.file}); {make}") from None
        except (ValueError, RecursionError) as error:  # the second: lists a thousand deep in each other
            raise self.error(f"{path}: not JSON ({one_line(error)}); {self.again}") from None
        found = data.get("format") if isinstance(data, dict) else None
        if found != self.format:
            raise self.error(
                f"{path}: got format {one_line(repr(found))}, expected {self.format!r}; with this release, {self.again}"
            )
        return dict(data)

    @contextlib.contextmanager
    def checking(self, folder: Path) -> Iterator[None]:
        """Within: an entry that is missing, of another type or wrong becomes `error`, the file's name before it."""
        path = folder / self.file
        try:
            yield
        except KeyError as error:
            raise self.error(f"{path}: missing key {one_line(error)}; {self.again}") from None
        # The latter three: a text where an object should be, an infinite number, a name longer than a file's can be.
        except (TypeError, ValueError, AttributeError, OverflowError, OSError) as error:
            raise self.error(f"{path}: {one_line(error)}; {self.again}") from None


def plain(name: object, where: str) -> str:
    """The name of a file inside a folder; ValueError for anything that leads out of it."""
    if not isinstance(name, str) or name != Path(name).name or name in ("", ".", ".."):
        raise ValueError(f"got file name {name!r}, expected a plain name inside {where}")
    return name


def checked_file(path: Path, expected: str) -> Path:
    """The path of a file that is there and has this hash; ValueError otherwise."""
    if not path.is_file():
        raise ValueError(f"{path.name} is missing")
    if (found := sha256(path)) != expected:
        raise ValueError(f"{path.name}: got sha256 {found[:12]}..., expected {expected[:12]}...")
    return path


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
