"""What a user says of a network because its weights cannot, and the settings of a ModelSpec by name."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from maskline_train.spec import ModelSpec

ChannelOrder = Literal["bgr", "rgb"]


@dataclasses.dataclass(frozen=True)
class ImportOptions:
    """The user's word.

    Attributes:
        config: the framework's config file, if it has one.
        classes: the K foreground classes in the order of the weights' rows; None: not said.
        keypoints: the J keypoints; None: not said.
        channels: order of the channels that the network was trained on; None: as the config has it.
        zoo: True: what no config says is as in the framework's published models.
        norm_eps: what the batch norms add to the variance; None: not said.
        settings: fields of the ModelSpec by their full name, e.g. `box_head.score_thresh`, and their values.
    """

    config: Path | None = None
    classes: tuple[str, ...] | None = None
    keypoints: tuple[str, ...] | None = None
    channels: ChannelOrder | None = None
    zoo: bool = False
    norm_eps: float | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def names_of(text: str) -> tuple[str, ...]:
    """`a,b,c`, or the lines of a file of that name.

    Raises:
        ValueError: no name, or an empty one.
    """
    path = Path(text)
    names = path.read_text(encoding="utf-8-sig").rstrip().splitlines() if path.is_file() else text.split(",")
    stripped = tuple(name.strip() for name in names)
    if not all(stripped):
        raise ValueError(f"names: got {text!r}, expected names with commas between them, or a file with one a line")
    return stripped


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """`FIELD=VALUE`, the value as JSON, e.g. `preprocessing.shorter_side_px=512`.

    Raises:
        ValueError: not of that form.
    """
    settings = {}
    for text in texts:
        name, separator, value = text.partition("=")
        try:
            settings[name] = json.loads(value)
        except json.JSONDecodeError:
            settings[name] = value  # a word
        if not separator or not name or value == "":
            raise ValueError(f"--set: got {text!r}, expected FIELD=VALUE, e.g. box_head.score_thresh=0.3")
    return settings


def with_settings(spec: ModelSpec, settings: Mapping[str, Any]) -> ModelSpec:
    """The spec with other values in some of its fields.

    Raises:
        ValueError: no such field, or a value out of its range or of another type.
    """
    data = spec.to_dict()
    for name, value in settings.items():
        *parents, last = name.split(".")
        part: Any = data
        for parent in parents:
            part = part.get(parent) if isinstance(part, dict) else None
        if not isinstance(part, dict) or last not in part or isinstance(part[last], dict):
            raise ValueError(f"--set {name}: no such field of model.json; e.g. box_head.score_thresh is one")
        part[last] = value
    return ModelSpec.from_dict(data)  # which also checks the types of what a config said
