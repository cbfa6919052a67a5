"""What a folder of engines says of itself: `engines.json`, written by `maskline-export engine`, checked before serving.

A plan runs only with the very TensorRT and on the GPU architecture it was built for, and with the plugins it was built
with; so all of them are in here.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

from maskline_command.one_line import one_line

from maskline_export.engine.plugin_library import PluginFile
from maskline_export.engine.profiles import Profile
from maskline_export.errors import EngineBuildError
from maskline_export.manifest import Precision, TensorInfo

FORMAT = "maskline-engines/1"
FILE = "engines.json"
PLUGINS = "plugins"  # folder of the libraries
Runtime = Literal["tensorrt", "tensorrt_rtx"]


@dataclasses.dataclass(frozen=True)
class EngineInfo:
    """One plan.

    Attributes:
        file, sha256, bytes: of the plan.
        onnx_sha256: of the artifact's file it was built of, before typing.
        plugin_layers: how many layers are plugins of ours.
        build_seconds: parsing and building, on the machine that did it.
        inputs, outputs: in the order of the artifact; dtypes as the engine has them.
    """

    file: str
    sha256: str
    bytes: int
    onnx_sha256: str
    plugin_layers: int
    build_seconds: float
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


@dataclasses.dataclass(frozen=True)
class EngineManifest:
    """All of `engines.json`.

    Attributes:
        maskline: release of ours that built them.
        runtime: which TensorRT the plans are for.
        version: its exact version.
        compute_capability: of the GPU, e.g. "8.9".
        gpu: its name; None where it was built for one that is not there.
        precision: of trunk and heads.
        plugins: libraries in the folder `plugins`; none where the engines hold standard layers only.
        profiles: one a canvas, in the order of the plans' profiles.
        stages: by name.
    """

    maskline: str
    runtime: Runtime
    version: str
    compute_capability: str
    gpu: str | None
    precision: Precision
    plugins: tuple[PluginFile, ...]
    profiles: tuple[Profile, ...]
    stages: dict[str, EngineInfo]

    def save(self, folder: Path) -> None:
        """Write `engines.json`."""
        data = {"format": FORMAT, **dataclasses.asdict(self)}
        (folder / FILE).write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def load_engines(folder: Path) -> EngineManifest:
    """Read `engines.json` of a folder.

    Raises:
        EngineBuildError: not a folder that `maskline-export engine` of this release wrote.
    """
    path = folder / FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = data.pop("format", None)
        if found != FORMAT:
            raise EngineBuildError(
                f"{path}: got format {one_line(repr(found))}, expected {FORMAT!r}; build the engines again"
            )
        return _build(data)
    except OSError as error:
        raise EngineBuildError(
            f"{folder}: cannot read {FILE} ({error.strerror}); expected a folder written by `maskline-export engine`"
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise EngineBuildError(f"{path}: malformed ({one_line(error)}); build the engines again") from error


def _build(data: dict[str, Any]) -> EngineManifest:
    rest = dict(data)
    rest["plugins"] = tuple(PluginFile(**entry) for entry in rest["plugins"])
    rest["profiles"] = tuple(Profile(tuple(entry["batches"]), tuple(entry["canvas"])) for entry in rest["profiles"])
    rest["stages"] = {name: _engine(entry) for name, entry in rest["stages"].items()}
    return EngineManifest(**rest)


def _engine(data: dict[str, Any]) -> EngineInfo:
    rest = dict(data)
    for side in ("inputs", "outputs"):
        rest[side] = tuple(TensorInfo(**{**tensor, "shape": tuple(tensor["shape"])}) for tensor in rest[side])
    return EngineInfo(**rest)
