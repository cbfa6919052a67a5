"""The artifact folder's description of itself: `manifest.json`, written by the exporter, checked by every reader.

Its hash is what the artifact is known by, in the configs of a server that was assembled of it and in requests. So
nothing is added to it later: what `maskline-export verify` found lies beside it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, Literal, TypeVar

from maskline_command.one_line import one_line
from maskline_train.files import replace_file
from maskline_train.spec import ModelSpec

from maskline_export.errors import ContractError

FORMAT = "maskline-artifact/1"
FILE = "manifest.json"
PARITY_FILE = "parity.json"  # what `maskline-export verify` found of this artifact; not there until it has run
_PARITY = "parity"  # where releases before PARITY_FILE kept that: an entry of the manifest, null until then
Bodies = Literal["ort", "dense"]
# int8: an int8 trunk and the rest fp16, for TensorRT; int8-cpu: trunk and heads, for ONNX Runtime.
Precision = Literal["fp32", "fp16", "bf16", "int8", "int8-cpu"]


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """One input or output of a stage; dimensions are numbers or symbols such as B, H, W, H2, W2."""

    name: str
    dtype: str  # as Triton writes it: UINT8, FP32, INT32; FP16 or BF16 for the features of typed stages
    shape: tuple[int | str, ...]


@dataclasses.dataclass(frozen=True)
class StageInfo:
    """One ONNX file: its hash, how many nodes of each of our ops it holds, its inputs and outputs in order."""

    file: str
    sha256: str
    custom_ops: dict[str, int]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


@dataclasses.dataclass(frozen=True)
class LabelsInfo:
    """The file of class names, one a line, in class order."""

    file: str
    sha256: str


_Entry = TypeVar("_Entry", StageInfo, LabelsInfo)


@dataclasses.dataclass(frozen=True)
class Manifest:
    """All of `manifest.json`."""

    maskline: str
    spec: ModelSpec
    bodies: Bodies
    precision: Precision
    opset: int
    tools: dict[str, str]
    checkpoint_sha256: str
    labels: LabelsInfo
    stages: dict[str, StageInfo]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, the inverse of `from_dict`."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        stages = {name: dataclasses.asdict(stage) for name, stage in self.stages.items()}
        labels = dataclasses.asdict(self.labels)
        return {"format": FORMAT, **fields, "spec": self.spec.to_dict(), "labels": labels, "stages": stages}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Manifest:
        """Rebuild a manifest.

        Raises:
            ContractError: another format, or a missing, unknown or malformed entry.
        """
        rest = {name: entry for name, entry in data.items() if name != _PARITY}
        found = rest.pop("format", None)
        if found != FORMAT:
            raise ContractError(
                f"manifest: got format {one_line(repr(found))}, expected {FORMAT!r}; export the checkpoint again"
            )
        try:
            rest["spec"] = ModelSpec.from_dict(rest["spec"])
            rest["labels"] = _checked(LabelsInfo(**rest["labels"]))
            rest["stages"] = {name: _stage(stage) for name, stage in rest["stages"].items()}
            return Manifest(**rest)
        except KeyError as error:
            raise ContractError(f"manifest: missing entry {one_line(error)}; export the checkpoint again") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise ContractError(f"manifest: malformed ({one_line(error)}); export the checkpoint again") from error

    def save(self, folder: Path) -> None:
        """Write `manifest.json` into the folder, at once or not at all."""
        replace_file(folder / FILE, _text(self.to_dict()))


def _stage(data: dict[str, Any]) -> StageInfo:
    rest = dict(data)
    for side in ("inputs", "outputs"):
        rest[side] = tuple(TensorInfo(**{**tensor, "shape": tuple(tensor["shape"])}) for tensor in rest[side])
    return _checked(StageInfo(**rest))


def _checked(entry: _Entry) -> _Entry:
    """An entry whose file lies in the folder; ValueError for a name that leads out of it, or is none."""
    is_name = isinstance(entry.file, str) and entry.file.isprintable() and entry.file == Path(entry.file).name
    if not is_name or entry.file in ("", ".", ".."):
        raise ValueError(f"got file name {entry.file!r}, expected a plain name inside the artifact")
    if not isinstance(entry.sha256, str) or not entry.sha256.isalnum():
        raise ValueError(f"{entry.file}: got sha256 {entry.sha256!r}, expected a hash in hexadecimal")
    return entry


def sha256(path: Path) -> str:
    """Hash of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def identities(folder: Path) -> set[str]:
    """What a server may know the artifact by: its manifest's hash.

    Of an artifact that an earlier release verified also the hash before that, since the report went into the manifest.
    """
    text = (folder / FILE).read_bytes()
    found = {hashlib.sha256(text).hexdigest()}
    data = json.loads(text)
    if data.get(_PARITY) is not None:
        found.add(hashlib.sha256(_text(data | {_PARITY: None})).hexdigest())
    return found


def _text(data: dict[str, Any]) -> bytes:
    return (json.dumps(data, indent=2) + "\n").encode()


def _check_masks(folder: Path, manifest: Manifest) -> None:
    """Raise ContractError for an artifact of an earlier release, whose masks are whole numbers of 255 (UINT8)."""
    found = [tensor for stage in manifest.stages.values() for tensor in stage.outputs if tensor.name == "masks"]
    if wrong := [tensor.dtype for tensor in found if tensor.dtype != "FP32"]:
        raise ContractError(
            f"{folder}: got masks {wrong[0]} of maskline {manifest.maskline}, expected FP32, probabilities, as of this "
            "release; export the checkpoint again with `maskline-export onnx`"
        )


def load_artifact(folder: Path) -> Manifest:
    """The manifest of an artifact whose files are all there and unchanged.

    Raises:
        ContractError: not an artifact folder, another format, masks of an earlier release, a file missing, or a file
            with another hash.
    """
    try:
        data = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except OSError as error:
        raise ContractError(
            f"{folder}: cannot read {FILE} ({error.strerror}); expected a folder written by `maskline-export onnx`"
        ) from error
    except (ValueError, RecursionError) as error:  # the second: lists a thousand deep in each other
        raise ContractError(f"{folder / FILE}: not JSON ({error}); export the checkpoint again") from error
    if not isinstance(data, dict):
        raise ContractError(f"{folder / FILE}: got a JSON {type(data).__name__}, expected an object")
    manifest = Manifest.from_dict(data)
    _check_masks(folder, manifest)
    entries: list[LabelsInfo | StageInfo] = [manifest.labels, *manifest.stages.values()]
    for entry in entries:
        path = folder / entry.file
        if not path.is_file():
            raise ContractError(f"{path}: missing, expected by {FILE}; export the checkpoint again")
        found = sha256(path)
        if found != entry.sha256:
            raise ContractError(
                f"{path}: got sha256 {found[:12]}..., {FILE} says {entry.sha256[:12]}...; "
                "the file was changed after export: export the checkpoint again"
            )
    return manifest
