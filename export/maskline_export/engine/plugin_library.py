"""The library of our TensorRT plugins: where it is, what it is, and that it holds what a stage needs."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from maskline_host.library import installed_path

from maskline_export.custom_ops.body import DOMAIN, PLUGIN_VERSION
from maskline_export.errors import EngineBuildError
from maskline_export.manifest import sha256

VARIABLE = "MASKLINE_PLUGIN_LIBRARY"
FILE = "libmaskline_trt.so"
SHIM = "libmaskline_triton.so"  # opens FILE beside it and registers the plugins inside Triton
_BUILT = Path("build/plugins") / FILE


@dataclasses.dataclass(frozen=True)
class PluginFile:
    """One library that belongs to the engines: its name in the folder `plugins`, and its hash."""

    file: str
    sha256: str


def find(given: Path | None) -> Path:
    """The plugin library: the one given, else $MASKLINE_PLUGIN_LIBRARY, the wheel's, build/plugins/libmaskline_trt.so.

    Raises:
        EngineBuildError: it is not there.
    """
    named = os.environ.get(VARIABLE)
    path = given or (Path(named) if named else installed_path(FILE) or _BUILT)
    if not path.is_file():
        origin = "--plugin-library" if given else f"${VARIABLE}" if named else "the default place"
        raise EngineBuildError(
            f"{path}: no plugin library there ({origin}), expected {FILE}; install the wheel for Linux, build it with "
            "`make plugins`, name it with --plugin-library, or build an engine of standard layers with --plugin-free"
        )
    return path.resolve()


def load(trt: Any, path: Path, needed: Iterable[str]) -> None:
    """Let TensorRT's registry load the library.

    Args:
        trt: the module `tensorrt` (or `tensorrt_rtx`, which loads plugins although its networks take none).
        path: of the library.
        needed: op types that must be there afterwards.

    Raises:
        EngineBuildError: TensorRT does not load it, or a creator is missing.
    """
    registry = trt.get_plugin_registry()
    if not set(needed) - creators(trt):
        return  # loaded before in this process: a second time would fail
    if registry.load_library(str(path)) is None:
        raise EngineBuildError(
            f"{path}: TensorRT {trt.__version__} does not load it; build it with `make plugins` against this TensorRT"
        )
    if missing := set(needed) - creators(trt):
        raise EngineBuildError(
            f"{path}: got no plugin {', '.join(sorted(missing))} of version {PLUGIN_VERSION} in namespace {DOMAIN!r}, "
            f"expected all that the artifact needs; it has {', '.join(sorted(creators(trt))) or 'none'}; "
            "build it of the same release as the artifact"
        )


def creators(trt: Any) -> set[str]:
    """Names of the registered plugins of our namespace and version."""
    return {
        creator.name
        for creator in trt.get_plugin_registry().all_creators
        if creator.plugin_namespace == DOMAIN and creator.plugin_version == PLUGIN_VERSION
    }


def copy_into(folder: Path, library: Path) -> tuple[PluginFile, ...]:
    """Copy the library, and Triton's shim where it lies beside it, into `folder`; engines are served with these."""
    folder.mkdir()
    found = []
    for path in (library, library.with_name(SHIM)):
        if path.is_file():
            name = FILE if path == library else SHIM  # the shim looks for the library under this name
            (folder / name).write_bytes(path.read_bytes())
            found.append(PluginFile(name, sha256(folder / name)))
    return tuple(found)
