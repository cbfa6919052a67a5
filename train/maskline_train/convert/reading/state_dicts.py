"""Where in what a file held the state dicts are: mappings from names to tensors, and whole modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from maskline_train.convert.reading.inert import StandIn
from maskline_train.convert.reading.tensors import ArrayOfFile, OtherTensor, TensorOfFile

Entry = Tensor | TensorOfFile | ArrayOfFile | OtherTensor

# DataParallel, torch.compile, Lightning, mmdetection around a network of detectron2
_PREFIXES = ("module.", "_orig_mod.", "model.", "d2_model.")
_COMPILED = "_orig_mod."  # torch.compile of a part of the network puts it inside of names
_AVERAGED = ("n_averaged", "steps")  # AveragedModel of torch.optim.swa_utils and of mmengine count beside `module.`
_FEWEST = 8  # tensors of a state dict: an optimizer's entry has fewer, the smallest body has more
_DEEPEST = 8  # dicts in dicts: no checkpoint has so many
_MOST_PARTS, _DEEPEST_PART = 20_000, 40  # modules in a module, and their dots: ResNet-152 has 600, and 4


def state_dicts(content: object) -> dict[str, dict[str, Entry]]:
    """Every state dict in what was read, by its place, e.g. `model` or `ema.weights`; one that is the whole: by "".

    One that stands in two places counts in the first.

    Raises:
        ValueError: a module with more parts than any has.
    """
    return dict(_found(content, "", set(), _DEEPEST))


def _found(content: object, place: str, seen: set[int], depth: int) -> Iterator[tuple[str, dict[str, Entry]]]:
    if id(content) in seen or depth == 0 or not isinstance(content, Mapping | StandIn):
        return
    seen.add(id(content))
    if isinstance(content, StandIn):  # perhaps of a module
        entries = dict(_of_module(content))
    else:
        entries = {key: value for key, value in content.items() if isinstance(key, str) and _is_entry(value)}
    if len(entries) >= _FEWEST:
        yield place, entries
    elif isinstance(content, Mapping):
        for key, value in content.items():
            if isinstance(key, str):
                yield from _found(value, f"{place}.{key}" if place else key, seen, depth - 1)


def _of_module(module: StandIn) -> Iterator[tuple[str, Entry]]:
    """The state dict of a pickled `torch.nn.Module`."""
    parts: list[tuple[str, object]] = [("", module)]
    for _ in range(_MOST_PARTS):
        if not parts:
            return
        prefix, part = parts.pop()
        if prefix.count(".") > _DEEPEST_PART:
            break
        state = vars(part) if isinstance(part, StandIn) else {}
        left_out = state.get("_non_persistent_buffers_set")
        for kind in ("_parameters", "_buffers"):
            for name, value in _items(state.get(kind)):
                if _is_entry(value) and not (isinstance(left_out, set) and name in left_out):
                    yield prefix + name, value
        parts.extend((f"{prefix}{name}.", child) for name, child in reversed(_items(state.get("_modules"))))
    raise ValueError(
        f"holds a module of more than {_MOST_PARTS} parts, or {_DEEPEST_PART} in each other; one of them holds itself"
    )


def _items(value: Any) -> list[tuple[str, Any]]:
    return [(key, each) for key, each in value.items() if isinstance(key, str)] if isinstance(value, Mapping) else []


def _is_entry(value: object) -> bool:
    return value.is_number if isinstance(value, ArrayOfFile) else isinstance(value, Entry)


def without_prefix(tensors: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """What all names begin with and wrappers put there, and the tensors without it."""
    cut = ""
    rest = dict(tensors)
    while (prefix := next((each for each in _PREFIXES if _all_begin(rest, each)), "")) != "":
        cut += prefix
        rest = {name.removeprefix(prefix): tensor for name, tensor in rest.items() if name.startswith(prefix)}
    return cut, {name.replace(_COMPILED, ""): tensor for name, tensor in rest.items()}


def _all_begin(names: Mapping[str, Tensor], prefix: str) -> bool:
    return all(name.startswith(prefix) or (prefix == "module." and name in _AVERAGED) for name in names)
