"""A target for the tests of the runner: notes the inputs that it is given, and fails on those that it is told to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

INPUTS, LONGEST = "MASKLINE_FUZZ_INPUTS", "MASKLINE_FUZZ_LONGEST"  # a file to note them in; the bytes that are too many


def prepare(_: Path) -> Callable[[bytes], None]:
    """The target."""
    notes, longest = Path(os.environ[INPUTS]), int(os.environ.get(LONGEST, "100000"))

    def run(data: bytes) -> None:
        with notes.open("a") as file:
            file.write(hashlib.sha256(data).hexdigest() + "\n")
        assert len(data) <= longest, "a fault that was put there"

    return run
