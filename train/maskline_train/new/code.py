"""A frozen dataclass as the Python that makes it, with comments above the fields that have a reason."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Mapping
from typing import Any

WIDTH = 120
_STEP = "    "


def constructor(
    value: Any, reasons: Mapping[str, str], given: Mapping[str, str], path: str = "", depth: int = 1
) -> str:
    """The text of a call that makes `value`; fields that have their default and no reason are left out.

    Args:
        value: a dataclass of dataclasses, numbers, texts and tuples.
        reasons: of fields, by their path from the outermost value, e.g. `model.anchors.sizes_px`; an empty reason shows
            the field without a comment.
        given: the text of fields that are not numbers, by path, e.g. a variable's name.
        path: of `value`.
        depth: of the call's first line, in steps of indentation.
    """
    lines = []
    for field in dataclasses.fields(value):
        name = f"{path}.{field.name}" if path else field.name
        content = getattr(value, field.name)
        if name in given:
            lines.append(f"{field.name}={given[name]},")
            continue
        inside = any(reason.startswith(f"{name}.") for reason in reasons)
        if not inside and name not in reasons and _is_default(field, content):
            continue
        lines += _comment(reasons.get(name, ""), depth + 1)
        lines.append(f"{field.name}={_text(content, reasons, given, name, depth + 1)},")
    called = type(value).__name__
    if not lines:
        return f"{called}()"
    return "\n".join([f"{called}(", *(_STEP * (depth + 1) + line for line in lines), f"{_STEP * depth})"])


def _text(content: Any, reasons: Mapping[str, str], given: Mapping[str, str], path: str, depth: int) -> str:
    """A field's value as Python."""
    if dataclasses.is_dataclass(content):
        return constructor(content, reasons, given, path, depth)
    line = _literal(content)
    name = path.rpartition(".")[2]
    if isinstance(content, tuple) and len(f"{_STEP * depth}{name}={line},") > WIDTH:
        rows = "".join(f"{_STEP * (depth + 1)}{_literal(item)},\n" for item in content)
        return f"(\n{rows}{_STEP * depth})"
    return line


def _literal(content: Any) -> str:
    """A number, a text or a tuple of them, on one line."""
    if isinstance(content, tuple):
        items = ", ".join(map(_literal, content))
        return f"({items},)" if len(content) == 1 else f"({items})"
    return json.dumps(content, ensure_ascii=False) if isinstance(content, str) else repr(content)


def _is_default(field: dataclasses.Field[Any], content: Any) -> bool:
    return field.default is not dataclasses.MISSING and content == field.default


def _comment(reason: str, depth: int) -> list[str]:
    """Lines of a comment; none of an empty reason."""
    width = WIDTH - len(_STEP) * depth - 2
    return [f"# {line}" for line in textwrap.wrap(reason, width, break_long_words=False, break_on_hyphens=False)]
