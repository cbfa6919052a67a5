"""A file of weights of another framework, and the state dict inside.

Ref: layouts of `torch.save` (a state dict, a training checkpoint or a whole module), of detectron2's
`DetectionCheckpointer` and of the .pkl files of its model zoo.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from maskline_train.convert.reading.containers import OLD_TORCH, ZIP, read_stream, read_zip
from maskline_train.convert.reading.inert import InertUnpickler
from maskline_train.convert.reading.state_dicts import Entry, state_dicts, without_prefix

_HEADER = slice(8, 9)  # of a .safetensors file, which begins with the header's size in 8 bytes: JSON
_LISTED = 9  # state dicts that an error names
_EXPECTED = "expected weights as .pth, .pkl or .safetensors"


@dataclasses.dataclass(frozen=True)
class ForeignWeights:
    """A state dict, and what was around it.

    Attributes:
        tensors: by the framework's names, without a prefix that all had; floats as float32, on the CPU.
        place: where in the file they are, e.g. `model`; empty where the file is the state dict.
        prefix: what was cut off all names.
        around: what else the file holds, by name: plain values, and stand-ins for all that is not.
    """

    tensors: dict[str, Tensor]
    place: str
    prefix: str
    around: Mapping[str, Any]


def read_foreign(path: Path, place: str | None = None) -> ForeignWeights:
    """Read a file of weights.

    Args:
        path: told apart by content, not by name.
        place: which of several state dicts, as the error lists them; None where there is one.

    Raises:
        OSError: no such file, or no permission to read it.
        ValueError: a damaged file, no state dict in it, several and none chosen, or a tensor of it that is none or
            not finite; the text names it.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path}: a folder; {_EXPECTED}, give the file in it")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {_EXPECTED}")
    content = _read(path)
    try:
        found = state_dicts(content)
        chosen = _chosen(found, place)
        prefix, tensors = without_prefix(_tensors(found[chosen], path.stat().st_size))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    top = content if isinstance(content, Mapping) and chosen else {}
    around = {str(name): value for name, value in top.items() if name != chosen.split(".")[0]}
    return ForeignWeights(tensors, chosen, prefix, around)


def _chosen(found: Mapping[str, object], place: str | None) -> str:
    """The place of the state dict that counts."""
    names = ", ".join([*map(repr, list(found)[:_LISTED]), *["..."] * (len(found) > _LISTED)])
    if not found:
        raise ValueError(f"holds no state dict (names and tensors); {_EXPECTED}")
    if place is None and len(found) > 1:
        raise ValueError(f"holds {len(found)} state dicts, {names}; say by --weights which one")
    if place is not None and place not in found and "" in found:
        raise ValueError(f"got --weights {place}, but the file is one state dict; leave --weights out")
    if place is not None and place not in found:
        raise ValueError(f"got --weights {place}, expected one of {names}")
    return next(iter(found)) if place is None else place


def _read(path: Path) -> Any:
    """Whatever the file holds, with stand-ins for everything but containers, numbers, arrays and tensors."""
    with path.open("rb") as file:
        head = file.read(max(len(OLD_TORCH), _HEADER.stop))
    try:
        if head[_HEADER] == b"{" or (path.suffix == ".safetensors" and not head.startswith(ZIP)):
            return load_file(path)
        if head.startswith(ZIP):
            return read_zip(path)
        if head.startswith(OLD_TORCH):
            return read_stream(path.read_bytes())
        return InertUnpickler(io.BytesIO(path.read_bytes())).load()
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle raises any
        line = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
        raise ValueError(f"{path}: cannot be read ({line}); it is damaged or cut short, or holds no weights") from error


def _tensors(entries: Mapping[str, Entry], num_bytes: int) -> dict[str, Tensor]:
    """The tensors themselves: floats as float32.

    Args:
        entries: as the file describes them.
        num_bytes: of the file; a number takes a byte at least.

    Raises:
        ValueError: one that is none, is not finite or would be larger than the file; the text names it.
    """
    made: dict[str, Tensor] = {}
    for name, entry in entries.items():
        try:
            made[name] = _float32(entry if isinstance(entry, Tensor) else entry.tensor())
        except MemoryError:
            raise
        except Exception as error:  # what a damaged archive raises comes here, too, since its entries are read here
            raise ValueError(f"weight {name!r}: {' '.join(str(error).split())[:200]}") from error
        num_bytes -= made[name].numel()
        if num_bytes < 0:
            raise ValueError(f"weight {name!r}: the tensors up to it have more numbers than the file has bytes")
    return made


def _float32(tensor: Tensor) -> Tensor:
    if tensor.dtype.is_complex:
        raise ValueError(f"got {tensor.dtype}, expected floats")
    if not tensor.is_floating_point():
        return tensor
    single = tensor.detach().float()
    if not bool(torch.isfinite(single).all()):
        raise ValueError("got a value that is not finite in float32; the training diverged, or the file is damaged")
    return single
