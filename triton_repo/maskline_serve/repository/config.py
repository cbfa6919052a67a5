"""Reads config.pbtxt with Triton's own protobuf, and changes single values in its text.

The configs are written and reviewed by hand, comments included. `assemble` changes sizes and parameters and nothing
else, so the text is edited in place and the result is parsed again and compared with what was meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2

from maskline_serve.errors import RepositoryError

_TOKEN = re.compile(r'#[^\n]*|"(?:\\.|[^"\\])*"|[\[\]{}:,]|[^\s\[\]{}:,"#]+')

_PROBLEM = "cannot change this text in place; write dims and parameters in the usual form"


def parse(text: str, where: Path | str) -> Any:
    """The `inference.ModelConfig` message of a config.pbtxt.

    Raises:
        RepositoryError: not a model configuration; the text carries protobuf's line and column.
    """
    config = model_config_pb2.ModelConfig()
    try:
        text_format.Parse(text, config)
    except text_format.ParseError as error:
        mistake = " ".join(str(error).split())  # it quotes the line, control characters included
        raise RepositoryError(f"{where}: {mistake}; expected Triton's model configuration") from None
    return config


def as_triton_json(config: Any) -> str:
    """An `inference.ModelConfig` message as Triton gives it to a model in Python: empty values too."""
    shown = {"preserving_proto_field_name": True, "always_print_fields_with_no_presence": True}
    return str(json_format.MessageToJson(config, **shown))


def dtype(tensor: Any) -> str:
    """The data type of a config's input or output as the manifest writes it, e.g. `FP32`."""
    return str(model_config_pb2.DataType.Name(tensor.data_type)).removeprefix("TYPE_")


def with_dims(text: str, dims: Mapping[str, tuple[int, ...]], where: Path | str) -> str:
    """The config's text with the dims of its inputs and outputs set by tensor name where they differ.

    Raises:
        RepositoryError: a tensor has another number of dimensions than `dims` says, or a dimension beyond 64 bits.
    """
    meant = parse(text, where)
    wanted: dict[str, tuple[int, ...]] = {}
    for tensor in (*meant.input, *meant.output):
        new = dims.get(tensor.name, tuple(tensor.dims))
        if len(new) != len(tensor.dims):
            raise RepositoryError(f"{where}: {tensor.name} has dims {list(tensor.dims)}, the artifact has {list(new)}")
        if new != tuple(tensor.dims):
            wanted[tensor.name] = new
            try:
                tensor.dims[:] = new
            except ValueError as error:  # protobuf's, of a number that 64 bits do not hold
                raise RepositoryError(f"{where}: {tensor.name}: got dims {list(new)} ({error})") from error
    for start, end, name in reversed(list(_dims_spans(text))):
        if name in wanted:
            text = f"{text[:start]}[ {', '.join(map(str, wanted[name]))} ]{text[end:]}"
    return checked(text, meant, where, _PROBLEM)


def with_dtypes(text: str, dtypes: Mapping[str, str], where: Path | str) -> str:
    """The config's text with the types of its inputs and outputs, by tensor name, e.g. `FP16`."""
    meant = parse(text, where)
    for tensor in (*meant.input, *meant.output):
        tensor.data_type = model_config_pb2.DataType.Value(f"TYPE_{dtypes[tensor.name]}")
        text = re.sub(
            rf'(name:\s*"{re.escape(tensor.name)}"[^{{}}]*?data_type:\s*)TYPE_\w+',
            lambda match, dtype=dtypes[tensor.name]: f"{match.group(1)}TYPE_{dtype}",  # type: ignore[misc]
            text,
        )
    return checked(text, meant, where, _PROBLEM)


def with_names(text: str, names: Mapping[str, str], where: Path | str) -> str:
    """The config's text with the names of its model and of its steps changed: name so far -> name from now on.

    Raises:
        RepositoryError: the text cannot be changed in place.
    """
    meant = parse(text, where)
    meant.name = names[meant.name]
    for step in meant.ensemble_scheduling.step:
        step.model_name = names[step.model_name]
    text = re.sub(
        r'^((?: *model_)?name: )"([^"]*)"',
        lambda match: f'{match.group(1)}"{names.get(match.group(2), match.group(2))}"',
        text,
        flags=re.MULTILINE,
    )
    return checked(text, meant, where, _PROBLEM)


def with_parameter(text: str, key: str, value: str, where: Path | str) -> str:
    """The config's text with `parameters[key]` set to the string `value`, appended when there is none."""
    meant = parse(text, where)
    if key in meant.parameters and meant.parameters[key].string_value == value:
        return text
    there = key in meant.parameters
    meant.parameters[key].string_value = value
    quoted = _quoted(value)
    if there:
        pattern = rf'(key:\s*{re.escape(_quoted(key))}\s*,?\s*value:?\s*\{{\s*string_value:\s*)"(?:\\.|[^"\\])*"'
        text = re.sub(pattern, lambda match: match.group(1) + quoted, text)
    else:
        text = f"{text.rstrip()}\nparameters {{ key: {_quoted(key)} value: {{ string_value: {quoted} }} }}\n"
    return checked(text, meant, where, _PROBLEM)


def _quoted(text: str) -> str:
    """A string as config.pbtxt has it: what would end it, or the line, is escaped; letters of all languages stay."""
    named = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}
    return '"' + "".join(named.get(c, c if c.isprintable() else _octal(c)) for c in text) + '"'


def _octal(character: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8"))


def checked(text: str, meant: Any, where: Path | str, problem: str) -> str:
    """The changed text of a config; `problem` says what failed, and what to do.

    Raises:
        RepositoryError: it does not parse to exactly what was meant.
    """
    if parse(text, where) != meant:
        raise RepositoryError(f"{where}: {problem}")
    return text


def _dims_spans(text: str) -> Iterator[tuple[int, int, str]]:
    """Where the dims lists of the top-level inputs and outputs stand: (start of `[`, after `]`, tensor name)."""
    depth, field, name = 0, "", ""
    tokens = [match for match in _TOKEN.finditer(text) if not match.group().startswith("#")]
    span: tuple[int, int] | None = None
    for at, match in enumerate(tokens):
        token = match.group()
        if token == "{":
            depth += 1
            name, span = ("", None) if depth == 1 else (name, span)
        elif token == "}":
            depth -= 1
            if depth == 0 and field in ("input", "output") and span is not None:
                yield (*span, name)
        elif depth == 0 and token[0].isalpha():
            field = token
        elif depth == 1 and token == "name":
            name = tokens[at + 2].group().strip('"')
        elif depth == 1 and token == "dims":
            opening = at + (2 if tokens[at + 1].group() == ":" else 1)
            closing = next(i for i in range(opening, len(tokens)) if tokens[i].group() == "]")
            span = (tokens[opening].start(), tokens[closing].end())
