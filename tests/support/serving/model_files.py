"""Loads the files of the model repository, which belong to no package, by their path."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

TRITON_REPO = Path(__file__).parents[3] / "triton_repo"


def load(path: str) -> ModuleType:
    """The module at `path` below triton_repo, e.g. `models/preprocess/1/images.py`; one module a path."""
    name = "model_file_" + path.replace("/", "_").removesuffix(".py")
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, TRITON_REPO / path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up here
        sys.path.insert(0, str((TRITON_REPO / path).parent))  # as Triton does for a model's or backend's own files
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path.pop(0)
    return sys.modules[name]
