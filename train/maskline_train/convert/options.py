"""What a user says of a network because its weights cannot, and the settings of a ModelSpec by name."""

from __future__ import annotations

import dataclasses
import errno
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from maskline_train.spec import ModelSpec

_DEEPEST = 2  # lists in a list, as canvases are
_LARGEST = 2.0**63  # numbers beyond are of no use in any field
_SHOWN = 60  # characters of what was typed that an error repeats
_BY_OPTION = {"classes": "--classes a,b,c", "keypoint_head.names": "--keypoints a,b,c"}
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

    def classes_of(self, count: int) -> tuple[str, ...] | None:
        """The classes that were named, of which the weights have `count`; None: none were named.

        Raises:
            ValueError: another number of names.
        """
        if self.classes is not None and len(self.classes) != count:
            raise ValueError(
                f"--classes: got {len(self.classes)} names, the weights have {count} classes; name each of them, in "
                "the order of training"
            )
        return self.classes

    def __post_init__(self) -> None:
        if self.norm_eps is not None and not 0 <= self.norm_eps < 1:
            raise ValueError(f"--norm-eps: got {self.norm_eps}, expected from 0 to below 1, e.g. 1e-5")


def typed_options(
    config: Path | None,
    classes: str | None,
    keypoints: str | None,
    channels: ChannelOrder | None,
    zoo_settings: bool,
    norm_eps: float | None,
    settings: Sequence[str] | None,
) -> ImportOptions:
    """What was typed on a command line.

    Raises:
        OSError: a file of names cannot be read.
        ValueError: a word that is not of the form that `names_of` or `parse_settings` wants.
    """
    return ImportOptions(
        config=config,
        classes=None if classes is None else names_of(classes),
        keypoints=None if keypoints is None else names_of(keypoints),
        channels=channels,
        zoo=zoo_settings,
        norm_eps=norm_eps,
        settings=parse_settings(settings or []),
    )


def names_of(text: str) -> tuple[str, ...]:
    """`a,b,c`, or the lines of a file of that name.

    Raises:
        OSError: a folder, or a file that cannot be read.
        ValueError: no name, an empty one, or a file that is not UTF-8.
    """
    path = Path(text)
    names = _lines(path) if _exists(path) else text.split(",")
    stripped = tuple(name.strip() for name in names)
    if not all(stripped):
        raise ValueError(
            f"names: got {_shown(text)}, expected names with commas between them, or a file with one a line"
        )
    return stripped


def _exists(path: Path) -> bool:
    """Whether there is such a file or folder; names with commas between them can be too long for a path."""
    try:
        return path.exists()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


def _lines(path: Path) -> list[str]:
    if path.is_dir():
        raise IsADirectoryError(f"{path}: a folder, expected names with commas between them, or a file with one a line")
    try:
        return path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error.reason}), expected one name a line; save it as UTF-8") from error


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """`FIELD=VALUE`, the value as JSON, e.g. `preprocessing.shorter_side_px=512`.

    Raises:
        ValueError: not of that form.
    """
    settings: dict[str, Any] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name or value == "":
            raise ValueError(f"--set: got {_shown(text)}, expected FIELD=VALUE, e.g. box_head.score_thresh=0.3")
        if name in settings:
            raise ValueError(f"--set {name}: got it twice, expected one value; leave one out")
        settings[name] = _value_of(name, value)
    return settings


def _value_of(name: str, text: str) -> Any:
    """JSON, or a word."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    except RecursionError:  # brackets in brackets
        value = float("nan")
    if not _is_plain(value, _DEEPEST):
        raise ValueError(f"--set {name}: got {_shown(text)}, expected a word, a finite number, or a list of them")
    return value


def _is_plain(value: object, depth: int) -> bool:
    """Whether numbers are finite and lists no deeper than those of any field."""
    if isinstance(value, list | dict):
        return depth > 0 and all(_is_plain(each, depth - 1) for each in value)
    return not isinstance(value, int | float) or abs(value) < _LARGEST  # which NaN is not, either


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def with_settings(spec: ModelSpec, settings: Mapping[str, Any]) -> ModelSpec:
    """The spec with other values in some of its fields.

    Raises:
        ValueError: no such field, or a value out of its range or of another type.
    """
    data = spec.to_dict()
    for name, value in settings.items():
        if name in _BY_OPTION:
            raise ValueError(f"--set {name}: say it by {_BY_OPTION[name]}, which also counts the names")
        *parents, last = name.split(".")
        part: Any = data
        for parent in parents:
            part = part.get(parent) if isinstance(part, dict) else None
        if not isinstance(part, dict) or last not in part or isinstance(part[last], dict):
            raise ValueError(f"--set {name}: no such field of model.json; e.g. box_head.score_thresh is one")
        part[last] = value
    return ModelSpec.from_dict(data)  # which also checks the types of what a config said
