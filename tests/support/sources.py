"""One hash of all that decides what the exporter makes of a network, taken before anything of ours is imported."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = (ROOT / "train" / "maskline_train", ROOT / "export" / "maskline_export")
TOOLS = ("torch", "onnx", "onnx-ir", "onnxscript", "numpy", "sympy")


def digest() -> str:
    """Hash of every source file of train and export as it lies on the disk now, and of the versions of the tools."""
    seen = hashlib.sha256(platform.python_version().encode())
    for tool in TOOLS:
        seen.update(f"{tool} {importlib.metadata.version(tool)}\n".encode())
    for package in PACKAGES:
        for file in sorted(package.rglob("*.py")):
            seen.update(f"{file.relative_to(ROOT)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return seen.hexdigest()


AT_START = digest()
