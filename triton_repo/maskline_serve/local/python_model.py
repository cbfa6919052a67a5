"""Loads the Python code of a model in a repository as Triton's Python backend does, without Triton."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from maskline_serve.local import backend_utils
from maskline_serve.local.backend_utils import InferenceRequest, InferenceResponse
from maskline_serve.repository.config import as_triton_json

_UTILS = "triton_python_backend_utils"
_names = (f"_maskline_local_{number}" for number in itertools.count())
_lock = threading.Lock()  # what an import looks at belongs to the process


class PythonModel:
    """A model, initialised.

    Args:
        code: folder of model.py and the modules that it imports.
        name: of the model.
        config: its ModelConfig.
        folder: of the model, with its version `1`.

    Raises:
        TritonModelException, ValueError: as its `initialize`.
        ImportError: a package is missing.
    """

    def __init__(self, code: Path, name: str, config: Any, folder: Path) -> None:
        self._package = next(_names)
        settings = as_triton_json(config)
        package = types.ModuleType(self._package)
        package.__path__ = [str(code)]
        try:
            with _lock, _as_in_triton(code):
                sys.modules[self._package] = package
                self._model = importlib.import_module(f"{self._package}.model").TritonPythonModel()
                self._model.initialize(
                    {
                        "model_config": settings,
                        "model_name": name,
                        "model_repository": str(folder),
                        "model_version": "1",
                    }
                )
        except BaseException:
            self._forget()
            raise

    def execute(self, request: InferenceRequest) -> InferenceResponse:
        """The answer to one call."""
        (response,) = self._model.execute([request])
        assert isinstance(response, InferenceResponse)  # the module of this name is the one that models import
        return response

    def close(self) -> None:
        """End its threads and forget its code."""
        if hasattr(self._model, "finalize"):
            self._model.finalize()
        self._forget()

    def _forget(self) -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == self._package]:
            del sys.modules[name]


@contextlib.contextmanager
def _as_in_triton(code: Path) -> Iterator[None]:
    """While a model is loaded the process is as the one that Triton starts for it, and as it was afterwards.

    Triton's module is ours, `code` is searched first, and what a model changes that others see is put back: variables
    of the environment that it takes away, Pillow's limit.
    """
    modules, environment, limit = dict(sys.modules), dict(os.environ), Image.MAX_IMAGE_PIXELS
    sys.modules[_UTILS] = backend_utils
    sys.path.insert(0, str(code))
    try:
        yield
    finally:
        sys.path.remove(str(code))
        del sys.modules[_UTILS]
        if _UTILS in modules:
            sys.modules[_UTILS] = modules[_UTILS]
        # Modules of plain names, such as `custom_ops`, belong to this repository's models alone.
        for name, module in list(sys.modules.items()):
            if name not in modules and "." not in name and Path(getattr(module, "__file__", None) or "").parent == code:
                del sys.modules[name]
        os.environ.update({name: value for name, value in environment.items() if name not in os.environ})
        Image.MAX_IMAGE_PIXELS = limit
