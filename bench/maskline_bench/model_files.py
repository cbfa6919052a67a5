"""Files of the served models, whose folders are packages of no name."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from maskline_serve.repository.assemble import sources


def load(model: str, name: str) -> ModuleType:
    """A module of a model's code, which may import its neighbours."""
    package = f"maskline_bench_of_{model}"
    if package not in sys.modules:
        sys.modules[package] = ModuleType(package)
        sys.modules[package].__path__ = [str(sources()[0] / model / "1")]
    return importlib.import_module(f"{package}.{name}")
