"""Which lines a command asks for: artifacts by bodies and by library, folders of engines, a running server."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from maskline_host import custom_ops_path
from maskline_host.library import HostLibraryError

from maskline_export.errors import ContractError
from maskline_export.manifest import Manifest, identities
from maskline_export.verify.lines.found import Line
from maskline_export.verify.lines.onnx_line import OnnxLine
from maskline_export.verify.lines.stage_line import StageLine
from maskline_export.verify.onnx_runtime import Device


@dataclasses.dataclass(frozen=True)
class Asked:
    """The lines of one run.

    Attributes:
        artifacts: folders, the first one the float32 one as a rule.
        library: run each artifact by `libmaskline_ort.so` too.
        device: what ONNX Runtime computes on.
        engines: folders of engines built of one of the artifacts.
        url: host:port of a server that serves one of the artifacts, the last one if it does not say which.
    """

    artifacts: Sequence[Path]
    library: bool = False
    device: Device = "cpu"
    engines: Sequence[Path] = ()
    url: str | None = None


def lines_of(asked: Asked, manifests: Sequence[Manifest]) -> list[Line]:
    """The lines in the order in which they are shown; what is not there is said before anything is computed.

    Raises:
        ContractError: no library, no such device, a type that ONNX Runtime does not compute, no server.
        EngineBuildError: no TensorRT, no GPU, or engines of other ones.
        ModuleNotFoundError: the client's packages are not installed.
    """
    library = _library() if asked.library else None
    lines: list[Line] = []
    for folder, manifest in zip(asked.artifacts, manifests, strict=True):
        lines.append(OnnxLine(folder, manifest, folder.name, device=asked.device))
        if library is not None:
            lines.append(OnnxLine(folder, manifest, folder.name, library=library, device=asked.device))
    lines += [_engines(folder, asked.artifacts, manifests) for folder in asked.engines]
    if asked.url is not None:
        lines.append(_server(asked.url, asked.artifacts, manifests))
    return lines


def _library() -> Path:
    try:
        library = custom_ops_path()
    except HostLibraryError as error:
        raise ContractError(str(error)) from error
    if library is None:
        raise ContractError(
            "--library: libmaskline_ort.so is not there; the wheel for Linux brings it, `make plugins` builds it"
        )
    return library


def _engines(folder: Path, artifacts: Sequence[Path], manifests: Sequence[Manifest]) -> Line:
    from maskline_export.engine.run_engine import TensorRTStages  # TensorRT and pycuda, where a GPU is

    engines = TensorRTStages(folder)
    found = engines.manifest
    for manifest in manifests:
        if all(name in manifest.stages for name in found.stages) and all(
            stage.onnx_sha256 == manifest.stages[name].sha256 for name, stage in found.stages.items()
        ):
            title = f"{folder.name}: engines {found.precision}, TensorRT {found.version}, {found.gpu}"
            return StageLine(title, found.precision, tuple(found.stages), engines.run, manifest.spec)
    raise ContractError(
        f"{folder}: built of another artifact than {', '.join(map(str, artifacts))}; name the one that the engines "
        "were built of, or build them again with `maskline-export engine`"
    )


def _server(url: str, artifacts: Sequence[Path], manifests: Sequence[Manifest]) -> Line:
    """The server, with the limits of the artifact that it says it serves, else of the last one named."""
    from maskline_export.verify.lines.served.server_line import ServerLine, served_artifact  # the client's packages

    served = served_artifact(url)
    for folder, manifest in zip(artifacts, manifests, strict=True):
        if served in identities(folder):
            return ServerLine(url, manifest.precision, manifest.spec)
    note = (
        f"it serves artifact {served[:12]}, none of those named"
        if served
        else "it does not say which artifact it serves"
    )
    return ServerLine(url, manifests[-1].precision, manifests[-1].spec, note)
