"""Edits of config.pbtxt: whatever a name or a number is, it reads back as it was meant, and all else as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from atheris import FuzzedDataProvider
from fuzz.edits import NUMBERS, TEXTS
from fuzz.oracle import judged
from maskline_serve.errors import RepositoryError
from maskline_serve.repository import config
from support.serving.model_files import TRITON_REPO

KEYS = ("labels", "artifact_sha256", "paste", "max_image_bytes", "new", 'a"b', "a\\", "a.b", "", "\n")
PIECES = (
    *TEXTS[:-1],
    '"',
    "\\",
    "\\n",
    "'",
    "}",
    "{ key:",
    '" } }',
    "#",
    "\r",
    "\t",
    "\x01",
    "\x7f",
    "\u2028",
    "ÿ",
    "猫",
)


def prepare(_: Path) -> Callable[[bytes], None]:
    """The target."""
    texts = {path.parent.name: path.read_text() for path in sorted((TRITON_REPO / "models").glob("*/config.pbtxt"))}

    def run(data: bytes) -> None:
        choices = FuzzedDataProvider(data)
        name = choices.PickValueInList(list(texts))
        text, where = texts[name], f"{name}/config.pbtxt"
        before = config.parse(text, where)
        if choices.ConsumeBool():
            key, value = choices.PickValueInList(list(KEYS)), _value(choices)
            with judged(RepositoryError):
                after = config.parse(config.with_parameter(text, key, value, where), where)
                assert after.parameters[key].string_value == value
                before.parameters[key].string_value = value
                assert after == before
            return
        tensors = [*before.input, *before.output]
        tensor = choices.PickValueInList(tensors)
        dims = tuple(choices.PickValueInList(list(NUMBERS)) for _ in range(choices.ConsumeIntInRange(0, 4)))
        with judged(RepositoryError):
            after = config.parse(config.with_dims(text, {tensor.name: dims}, where), where)
            assert {tuple(item.dims) for item in (*after.input, *after.output) if item.name == tensor.name} == {dims}

    return run


def _value(choices: FuzzedDataProvider) -> str:
    """The text of a parameter, or a JSON list of class names as `assemble` writes it."""
    pieces = [choices.PickValueInList(list(PIECES)) for _ in range(choices.ConsumeIntInRange(0, 5))]
    pieces.append(choices.ConsumeUnicode(choices.ConsumeIntInRange(0, 8)))
    return json.dumps(pieces) if choices.ConsumeBool() else "".join(pieces)
