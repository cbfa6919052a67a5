"""From JSON to frozen dataclasses and range checks: the machinery under the spec."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Literal, TypeVar

_T = TypeVar("_T")
_SHOWN = 200  # characters of a value in a message


def check(good: bool, name: str, got: object, expected: str) -> None:
    """Raise ValueError that names a field whose value is out of range. NaN fails every comparison, so it raises."""
    if not good:
        raise ValueError(f"{name}: got {_shown(got)}, expected {expected}")


def _shown(value: object) -> str:
    """A value as a message shows it: on one line, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def build(cls: type[_T], data: Any, where: str) -> _T:
    """Build dataclass `cls` from a dict, checking keys and types all the way down."""
    if not isinstance(data, dict):
        raise ValueError(f"{where}: got {_shown(data)}, expected an object")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise ValueError(f"{where}: unknown key {_shown(unknown[0])}, expected some of {', '.join(sorted(fields))}")
    for name, field in fields.items():
        if name not in data and field.default is dataclasses.MISSING:
            raise ValueError(f"{where}: missing key {name!r}")
    return cls(**{name: _convert(hints[name], value, f"{where}.{name}") for name, value in data.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Convert one JSON value to the annotated type `hint`, or raise ValueError naming `where`."""
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, where)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return _convert_tuple(args, value, where)
    if origin is Literal:
        if value not in args or isinstance(value, bool) != isinstance(args[0], bool):
            raise ValueError(f"{where}: got {_shown(value)}, expected one of {', '.join(map(repr, args))}")
        return value
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _convert(args[0], value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ValueError(f"{where}: got {_shown(value)}, expected a {hint.__name__}")
    return value


def _convert_tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    """Convert a JSON list to a homogeneous (`tuple[X, ...]`) or fixed tuple."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"{where}: got {_shown(value)}, expected a list")
    hints = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
    if len(hints) != len(value):
        raise ValueError(f"{where}: got {len(value)} entries, expected {len(hints)}")
    return tuple(_convert(hint, item, f"{where}[{i}]") for i, (hint, item) in enumerate(zip(hints, value, strict=True)))
