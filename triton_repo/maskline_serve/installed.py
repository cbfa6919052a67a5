"""Which of our libraries are installed, which of them a repository has, and whether ONNX Runtime is there once.

Rows for `maskline-serve doctor`: what was looked at, "ok", "warning" or "error", and what was seen.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable
from pathlib import Path

import maskline_host
from maskline_host.library import limit_simd

from maskline_serve.errors import ServerNotFoundError
from maskline_serve.repository.description import sha256
from maskline_serve.repository.libraries import BACKEND_PLACE, BODIES, CUSTOM_OPS_PLACE, NUMPY, STUBS, host_place
from maskline_serve.repository.on_disk import Repository
from maskline_serve.server import find_server, in_process

Row = tuple[str, str, str]
_MODULE = "onnxruntime"  # one module, which onnxruntime, onnxruntime-gpu and others install
_SIMD = ("generic", "AVX-512")  # what the numbers of `limit_simd` mean


def kernels(repository: Repository) -> list[Row]:
    """The libraries that are installed, and what of them a repository has: what encodes masks and runs our ops."""
    rows = [_host_library(), *_masks(repository)]
    return rows if repository.engines else [*rows, _custom_ops(), _ops(repository), _stages(repository)]


def onnx_runtime() -> Row:
    """The package that brings ONNX Runtime; a warning where there are two, an error where there is none."""
    found = {
        name: importlib.metadata.version(name)
        for name in sorted(set(importlib.metadata.packages_distributions().get(_MODULE, ())))
    }
    named = " and ".join(f"{name} {version}" for name, version in found.items())
    if not found:
        return _MODULE, "error", "not installed; `pip install 'maskline[serve]'`"
    if len(found) == 1 and _is_there():
        return _MODULE, "ok", named
    if len(found) == 1:
        again = f"`pip install --force-reinstall --no-deps {named.replace(' ', '==')}`"
        return _MODULE, "error", f"got {named} without its files: a second package took them with it; {again}"
    detail = (
        f"got {named}, expected one: they overwrite each other's files, the one installed last is what runs "
        f"({_loaded()}); `pip uninstall {' '.join(found)}`, then install one of them"
    )
    return _MODULE, "warning", detail


def _is_there() -> bool:
    """Whether there is more of the module than its folder."""
    spec = importlib.util.find_spec(_MODULE)
    return spec is not None and spec.origin is not None


def _loaded() -> str:
    """What `import onnxruntime` gives, whatever was installed over what."""
    try:
        import onnxruntime  # heavy, and only needed where something is wrong
    except ImportError as error:
        return f"which does not load: {error}"
    return f"{onnxruntime.__version__} with {', '.join(onnxruntime.get_available_providers())}"


def _host_library() -> Row:
    """Whether the host library is there and can be called, and with which instructions."""
    try:
        path = maskline_host.library_path()
        if path is None:
            return "host library", "warning", f"not installed: {NUMPY}"
        return "host library", "ok", f"{path}, {_SIMD[limit_simd(len(_SIMD) - 1)]} kernels"
    except maskline_host.HostLibraryError as error:
        return "host library", "warning", str(error)


def _masks(repository: Repository) -> list[Row]:
    """What will encode the masks of this repository; nothing of one without masks."""
    if repository.mask_side is None:
        return []
    place = host_place(repository)
    if place not in repository.files:
        return [("masks", "warning", f"this repository has no {place}: {NUMPY}")]
    origin = _origin(repository, place, maskline_host.library_path)
    return [("masks", "ok", f"encoded by {place}, {origin}")]


def _ops(repository: Repository) -> Row:
    """What will run our ops in ONNX Runtime."""
    if CUSTOM_OPS_PLACE not in repository.files:
        return "ops", "warning", f"this repository has no {CUSTOM_OPS_PLACE}: {BODIES}"
    if _has_own_backend():
        line = 'model_operations { op_library_filename: "..." }'
        return (
            "ops",
            "warning",
            f"the server's own onnxruntime backend runs their bodies, unless config.pbtxt has {line}",
        )
    path = repository.folder / CUSTOM_OPS_PLACE
    if not path.is_file() or sha256(path) != repository.files[CUSTOM_OPS_PLACE]:  # what it is now is not to be loaded
        return "ops", "warning", f"{CUSTOM_OPS_PLACE} is not what was assembled, so it was not tried; assemble again"
    if (refused := _refusal(path)) is not None:
        return "ops", "warning", f"{CUSTOM_OPS_PLACE}: {refused}; the bodies of our ops run"
    origin = _origin(repository, CUSTOM_OPS_PLACE, maskline_host.custom_ops_path)
    return "ops", "ok", f"run by {CUSTOM_OPS_PLACE}, {origin}"


def _stages(repository: Repository) -> Row:
    """Where the stages will run: in the server's process or in processes of Python."""
    if _has_own_backend():
        return "stages", "ok", "run by the server's own onnxruntime backend"
    if repository.gpu:
        return "stages", "ok", "run by the backend in Python, a process each, which hands tensors on where they lie"
    if BACKEND_PLACE not in repository.files:
        return "stages", "warning", f"this repository has no {BACKEND_PLACE}: {STUBS}"
    path, library = repository.folder / BACKEND_PLACE, in_process.onnx_runtime()
    if not path.is_file() or sha256(path) != repository.files[BACKEND_PLACE]:
        return "stages", "warning", f"{BACKEND_PLACE} is not what was assembled; assemble again"
    if library is None:
        return "stages", "warning", f"got no libonnxruntime.so in a Python package onnxruntime, expected one: {STUBS}"
    origin = _origin(repository, BACKEND_PLACE, maskline_host.backend_path)
    return "stages", "ok", f"run in the server's process by {BACKEND_PLACE}, {origin}, on {library}"


def _has_own_backend() -> bool:
    """Whether the server that was found brings an `onnxruntime` backend, which wins over the repository's."""
    try:
        backends = find_server.find().backends
    except ServerNotFoundError:
        return False  # said elsewhere
    return backends is not None and (backends / _MODULE).is_dir()


def _origin(repository: Repository, place: str, look: Callable[[], Path | None]) -> str:
    """How a library of the repository compares with the installed one."""
    try:
        path = look()
    except maskline_host.HostLibraryError:
        path = None
    if path is None:
        return "which is not installed here"
    if sha256(path) == repository.files[place]:
        return "a copy of the installed one"
    return "of another build than the installed one, which `maskline-serve assemble` would take"


def _refusal(path: Path) -> str | None:
    """Why ONNX Runtime does not take a library of custom ops, or None."""
    try:
        import onnxruntime  # heavy

        onnxruntime.SessionOptions().register_custom_ops_library(str(path))
    except ModuleNotFoundError:
        return "no Python package of ONNX Runtime is here to try it with"
    except Exception as error:  # ONNX Runtime's own exceptions share no base class below Exception
        return f"ONNX Runtime does not take it: {' '.join(str(error).split())[:300]}"
    return None


def _custom_ops() -> Row:
    """Whether the ops are there as custom ops, and this ONNX Runtime takes them."""
    try:
        path = maskline_host.custom_ops_path()
    except maskline_host.HostLibraryError as error:
        return "custom ops", "warning", str(error)
    if path is None:
        return "custom ops", "ok", "libmaskline_ort.so is not installed: ONNX Runtime runs the bodies of our ops"
    refused = _refusal(path)
    return "custom ops", "ok" if refused is None else "warning", str(path) if refused is None else f"{path}: {refused}"
