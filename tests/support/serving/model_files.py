"""Loads the files of the model repository, which belong to no package, by their path."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

TRITON_REPO = Path(__file__).parents[3] / "triton_repo"


def load(path: str) -> ModuleType:
    """The module at `path` below triton_repo, e.g. `models/preprocess/1/images.py`; one module a path.

    As Triton does, a model's folder is a package, with rooms of its own, and a backend's own folder is where Python
    looks for modules.
    """
    file = TRITON_REPO / path
    folder = next((parent for parent in file.parents if parent.name == "1"), file.parent)
    package = "model_file_" + folder.relative_to(TRITON_REPO).as_posix().replace("/", "_")
    if package not in sys.modules:
        sys.modules[package] = ModuleType(package)
        sys.modules[package].__path__ = [str(folder)]
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(".".join((package, *file.relative_to(folder).with_suffix("").parts)))
    finally:
        sys.path.pop(0)
