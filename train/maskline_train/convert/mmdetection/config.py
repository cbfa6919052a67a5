"""mmdetection's config, as its training loop dumps it: assignments of `dict(...)` calls and literals, read, never run.

Ref: `Config.pretty_text` of mmengine (mmengine/config/config.py) and of mmcv 1.x; mmengine/runner/runner.py
(`save_checkpoint`) and mmdet/apis/train.py of 2.x for where a file of weights has it.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Values = Mapping[str, Any]

_LONGEST = 2_000_000  # characters: a dump of a thousand class names has a twentieth of them
_DEEPEST = 40  # parts in parts: mmdetection's have about ten
_NUMBERS = {"inf": math.inf, "nan": math.nan}  # how a dump writes them
_DUMPED = "give the dumped config: Config.fromfile(...).dump('config.py'), or the one in the run's work_dir"
_PLACES = ("cfg", "config")  # in a file's `meta`: of 3.x, of 2.x


def config_in(meta: Values) -> dict[str, Any] | None:
    """The config that a file of weights has in its `meta`; None without any.

    Raises:
        ValueError: it is no dumped config.
    """
    texts = (meta.get(place) for place in _PLACES)
    text = next((text for text in texts if isinstance(text, str) and text.strip()), None)
    return None if text is None else _read(text, "the config in the file")


def read_config(path: Path) -> dict[str, Any]:
    """The config of a file beside the weights.

    Raises:
        OSError: no such file.
        ValueError: it is no dumped config.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path}: a folder, expected mmdetection's dumped config.py; give the file in it")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected mmdetection's dumped config.py")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error.reason}); {_DUMPED}") from error
    return _read(text, str(path))


def _read(text: str, where: str) -> dict[str, Any]:
    """The assignments of a text, tuples as lists.

    Raises:
        ValueError: naming `where` and the line.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"{where}: got {len(text)} characters, expected at most {_LONGEST}; {_DUMPED}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in paths
            statements = ast.parse(text).body
        return dict(_assignments(statements, where))
    except (SyntaxError, RecursionError, MemoryError) as error:  # the last two: parts in parts without end
        line = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise ValueError(f"{where}: not Python ({line[:200]}); {_DUMPED}") from error
    except ValueError as error:  # a null byte has no words of ours yet
        raise ValueError(str(error) if _DUMPED in str(error) else f"{where}: {error}; {_DUMPED}") from error


def _assignments(statements: list[ast.stmt], where: str) -> Iterator[tuple[str, Any]]:
    for statement in statements:
        match statement:
            case ast.Assign(targets=[ast.Name(id="_base_")]):
                raise ValueError(f"{where}: is based on other files (_base_), which are not followed; {_DUMPED}")
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield name, _value(value, where, _DEEPEST)
            case ast.Expr(value=ast.Constant()):  # a text that stands alone
                pass
            case _:
                raise _code(statement, where)


def _value(node: ast.expr, where: str, depth: int) -> Any:
    """What a literal or a `dict(...)` call says."""
    if depth == 0:
        raise ValueError(f"{where}: more than {_DEEPEST} parts in each other; {_DUMPED}")
    match node:
        case ast.Constant(value=value) if value is not ...:
            return value
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
            return [_value(part, where, depth - 1) for part in parts]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = _value(operand, where, depth - 1)
            if isinstance(value, int | float):
                return -value
        case ast.Name(id=name) if name in _NUMBERS:
            return _NUMBERS[name]
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=named) if all(each.arg for each in named):
            return {str(each.arg): _value(each.value, where, depth - 1) for each in named}
        case ast.Dict(keys=keys, values=values):
            if all(isinstance(key, ast.Constant) for key in keys):
                pairs = zip(keys, values, strict=True)
                return {str(getattr(key, "value", "")): _value(value, where, depth - 1) for key, value in pairs}
    raise _code(node, where)


def _code(node: ast.stmt | ast.expr, where: str) -> ValueError:
    text = " ".join(ast.unparse(node).split())[:60] if isinstance(node, ast.stmt) else type(node).__name__
    return ValueError(f"{where}: line {node.lineno} is code ({text}), which is not run; {_DUMPED}")


def flat(part: Values, before: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by their full names, e.g. `backbone.norm_cfg.type`; the depth is bounded by the reader."""
    for key, value in part.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value
