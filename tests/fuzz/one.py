"""Runs one target of Python in this process under atheris, which is libFuzzer with the coverage of Python code.

Run: PYTHONPATH=tests python -m fuzz.one NAME [options of libFuzzer] [FILE...]; `fuzz.run` does, for each target.
"""

from __future__ import annotations

import importlib
import random
import sys
import tempfile
from pathlib import Path

import atheris
from fuzz import oracle

OURS = [
    *(f"maskline_{part}" for part in ("client", "coco", "export", "serve", "train", "host")),
    *(f"model_file_models_{model}_1" for model in ("preprocess", "postprocess")),  # as support.serving names them
]
_FIRST = 24  # inputs that the mutation starts from where a target has no files of its own
_FIRST_BYTES = 256


def first_inputs(folder: Path, seed: int) -> None:
    """What libFuzzer begins with: bytes that choose edits, some of every length."""
    numbers = random.Random(seed)
    for index in range(_FIRST):
        (folder / f"{index:02}").write_bytes(numbers.randbytes(numbers.randint(1, _FIRST_BYTES)))


def main(arguments: list[str]) -> None:
    """Run until libFuzzer ends the process, with its status: 0, or another one for a finding."""
    name, options = arguments[0], arguments[1:]
    with atheris.instrument_imports(include=OURS):
        module = importlib.import_module(f"fuzz.{name}")
    with tempfile.TemporaryDirectory() as place:
        run = module.prepare(Path(place))
        oracle.watch()
        oracle.bound_memory()
        if not any(Path(option).is_file() for option in options):
            seed = next((int(option[6:]) for option in options if option.startswith("-seed=")), 0)
            corpus = Path(place) / "first_inputs"
            corpus.mkdir()
            first_inputs(corpus, seed)
            options = [*options, str(corpus)]
        atheris.Setup([name, *options], run)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
