"""Puts the built libraries into a wheel for one platform; hatchling asks it at every wheel that it builds.

`make wheels` names the folder of the libraries in MASKLINE_WHEEL_LIBRARIES. Without the variable the wheel is the pure
one, which runs wherever Python does, and this file does nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VARIABLE = "MASKLINE_WHEEL_LIBRARIES"
PACKAGE = "maskline_host"  # our packages look for libraries beside this one
LIBRARIES = (
    "libmaskline_host.so",
    "libmaskline_ort.so",
    "libtriton_onnxruntime.so",
    "libmaskline_trt.so",
    "libmaskline_triton.so",
)
# auditwheel puts a manylinux tag in its place once it has seen what the libraries ask for.
TAG = "py3-none-linux_x86_64"


class LibrariesHook(BuildHookInterface):  # type: ignore[type-arg]
    """The build hook `custom` of pyproject.toml."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the libraries and the tag, where the variable asks for them.

        Raises:
            FileNotFoundError: a library is not in the folder.
        """
        named = os.environ.get(VARIABLE)
        if not named or version == "editable":
            return
        folder = Path(self.root, named)
        for name in LIBRARIES:
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    f"${VARIABLE}: got {folder} without {name}, expected {', '.join(LIBRARIES)}; `make plugins` builds "
                    "them, and says what it leaves out"
                )
            build_data["force_include"][str(folder / name)] = f"{PACKAGE}/{name}"
        build_data["pure_python"] = False
        build_data["tag"] = TAG
