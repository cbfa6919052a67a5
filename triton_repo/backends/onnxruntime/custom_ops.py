"""Our ops by libmaskline_ort.so where the repository carries it, by the bodies in the ONNX file otherwise.

Both find the same. `maskline-serve assemble` puts the library beside this file, and the names of the ops that a stage
has into the parameter `custom_ops` of its config.pbtxt.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

FILE = "libmaskline_ort.so"
PARAMETER = "custom_ops"


def register(options: Any, config: dict[str, Any]) -> str | None:
    """Add the library to the options of a session, where the model has ops of ours.

    Args:
        options: onnxruntime.SessionOptions, changed in place.
        config: config.pbtxt as Triton's JSON.

    Returns:
        One line for the log that says what runs the ops; None for a model that has none.
    """
    ops = config.get("parameters", {}).get(PARAMETER, {}).get("string_value")
    if not ops:
        return None
    library = Path(__file__).with_name(FILE)
    if not library.is_file():
        return f"{ops}: run by their bodies, slower: this repository holds no {FILE}"
    try:
        options.register_custom_ops_library(str(library))
    except Exception as error:  # ONNX Runtime's own exceptions share no base class below Exception
        return f"{ops}: run by their bodies, slower: {FILE} cannot be loaded here: {' '.join(str(error).split())}"
    return f"{ops}: run by {FILE}"
