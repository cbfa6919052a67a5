"""Whether the stages run in the server's own process: by the repository's backend and ONNX Runtime's own library.

Without either of them the repository's backend written in Python runs, a process for each stage. Where the server
brings an `onnxruntime` backend itself, that one runs.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from maskline_serve.errors import ModelNotLoadedError
from maskline_serve.repository.external_data import refuse_external_data

BACKEND = "onnxruntime"
FILE = "libtriton_onnxruntime.so"  # Triton's rule for the name; it wins over model.py in the same folder


def onnx_runtime() -> Path | None:
    """ONNX Runtime's library in the package that the running Python would import; None where none has it."""
    spec = importlib.util.find_spec("onnxruntime")
    places = (spec.submodule_search_locations if spec is not None else None) or []
    return next((file for place in places for file in sorted(Path(place, "capi").glob("libonnxruntime.so*"))), None)


def link(source: Path, target: Path) -> None:
    """Link the repository's backend into the server's folder of backends, without a library that could not run."""
    if onnx_runtime() is not None or not (source / FILE).is_file():
        target.symlink_to(source.resolve())
        return
    target.mkdir()
    for entry in source.iterdir():
        if entry.name != FILE:
            (target / entry.name).symlink_to(entry.resolve())


def flags(backends: Path, models: Sequence[Path]) -> list[str]:
    """What the server's command line says where the stages run in its process; nothing elsewhere.

    Args:
        backends: the server's folder of backends, filled.
        models: the folders of models that it will serve.

    Raises:
        ModelNotLoadedError: a model's data lie in another file, which the Python backend refuses by itself.
    """
    library = onnx_runtime()
    if library is None or not (backends / BACKEND / FILE).is_file():
        return []
    for file in (found for folder in models for found in sorted(folder.glob("*/*/*.onnx"))):
        try:
            refuse_external_data(file)
        except ValueError as error:
            raise ModelNotLoadedError(f"model {file.parents[1].name} did not load: {error}") from error
    return [f"--backend-config={BACKEND},library={library}"]
