"""Files of weights of other frameworks, read without running anything in them, and the state dict inside.

Ref: layouts of `torch.save` (a state dict, a training checkpoint or a whole module), of detectron2's
`DetectionCheckpointer` and of the .pkl files of its model zoo.
"""

from __future__ import annotations

import dataclasses
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from maskline_train.convert.inert import PICKLE_MODULE, InertUnpickler, StandIn

_ZIP = b"PK\x03\x04"  # how a file of `torch.save` begins since torch 1.6
_OLD_TORCH = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)  # how it began before
_PREFIXES = ("module.", "_orig_mod.", "model.")  # DataParallel, torch.compile, Lightning
_COMPILED = "_orig_mod."  # torch.compile of a part of the network puts it inside of names
_FEWEST = 8  # tensors of a state dict: an optimizer's entry has fewer, the smallest body has more
_EXPECTED = "expected weights as .pth, .pkl or .safetensors"


@dataclasses.dataclass(frozen=True)
class ForeignWeights:
    """A state dict, and what was around it.

    Attributes:
        tensors: by the framework's names, without a prefix that all had; floats as float32, on the CPU.
        place: where in the file they are, e.g. `model`; empty where the file is the state dict.
        prefix: what was cut off all names.
        beside: names of what else the file holds.
    """

    tensors: dict[str, Tensor]
    place: str
    prefix: str
    beside: tuple[str, ...]


def read_foreign(path: Path, place: str | None = None) -> ForeignWeights:
    """Read a file of weights.

    Args:
        path: told apart by content, not by name, but for .safetensors.
        place: which of several state dicts, as the error lists them; None where there is one.

    Raises:
        OSError: no such file, or no permission to read it.
        ValueError: a damaged file, no state dict in it, or several and none chosen.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {_EXPECTED}")
    content = _read(path)
    found = dict(_state_dicts(content, ""))
    if not found:
        raise ValueError(f"{path}: holds no state dict (names and tensors); {_EXPECTED}")
    if place is None and len(found) > 1:
        raise ValueError(f"{path}: holds {len(found)} state dicts, {', '.join(found)}; say by --weights which one")
    chosen = next(iter(found)) if place is None else place
    if chosen not in found:
        raise ValueError(f"{path}: got --weights {chosen}, expected one of {', '.join(map(repr, found))}")
    prefix, tensors = _without_prefix(found[chosen])
    top = content if isinstance(content, Mapping) and chosen else {}
    return ForeignWeights(tensors, chosen, prefix, tuple(str(name) for name in top if name != chosen.split(".")[0]))


def _read(path: Path) -> Any:
    """Whatever the file holds, with stand-ins for everything but containers, numbers, arrays and tensors."""
    with path.open("rb") as file:
        head = file.read(len(_OLD_TORCH))
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if head.startswith(_ZIP):
            _refuse_torchscript(path)
            return torch.load(path, map_location="cpu", pickle_module=PICKLE_MODULE, weights_only=False)
        if head == _OLD_TORCH:
            return torch.load(path, map_location="cpu", weights_only=True)
        with path.open("rb") as file:
            return InertUnpickler(file).load()
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle raises any
        line = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(f"{path}: cannot be read ({line}); it is damaged or cut short, or holds no weights") from error


def _refuse_torchscript(path: Path) -> None:
    """Of such an archive `torch.load` would run the code."""
    with zipfile.ZipFile(path) as archive:
        if any(Path(name).name == "constants.pkl" for name in archive.namelist()):
            raise ValueError("a TorchScript archive, which holds a program; save the model's state_dict() instead")


def _state_dicts(content: object, place: str) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every state dict in what was read, by its place."""
    if isinstance(content, StandIn):  # perhaps of a module
        tensors = dict(_of_module(content, ""))
    elif isinstance(content, Mapping):
        tensors = {key: _tensor(value) for key, value in content.items() if isinstance(key, str) and _is_array(value)}
    else:
        return
    if len(tensors) >= _FEWEST:
        yield place, tensors
    elif isinstance(content, Mapping):
        for key, value in content.items():
            if isinstance(key, str):
                yield from _state_dicts(value, f"{place}.{key}" if place else key)


def _of_module(module: object, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """The state dict of a pickled `torch.nn.Module`."""
    parts = vars(module) if isinstance(module, StandIn) else {}
    left_out = parts.get("_non_persistent_buffers_set", ())
    for kind in ("_parameters", "_buffers"):
        for name, value in (parts.get(kind) or {}).items():
            if _is_array(value) and name not in left_out:
                yield prefix + name, _tensor(value)
    for name, child in (parts.get("_modules") or {}).items():
        yield from _of_module(child, f"{prefix}{name}.")


def _is_array(value: object) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, np.ndarray) and value.dtype.kind in "fiub")


def _tensor(value: Any) -> Tensor:
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value.astype(value.dtype.newbyteorder("="), order="C"))
    tensor: Tensor = value.detach()
    return tensor.float() if tensor.is_floating_point() else tensor


def _without_prefix(tensors: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """What all names begin with and wrappers put there, and the tensors without it."""
    cut = ""
    while (prefix := next((each for each in _PREFIXES if all(name.startswith(each) for name in tensors)), "")) != "":
        cut += prefix
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return cut, {name.replace(_COMPILED, ""): tensor for name, tensor in tensors.items()}
