"""Values of a COCO file, each checked for its type and its range where it is read: what is taken later costs little."""

from __future__ import annotations

import math
import reprlib
from typing import Any

MAX_COORDINATE_PX = 1_000_000  # 50 times the longest side of an image that is taken
MAX_ID = 2**63 - 1  # what COCOeval's arrays hold
MAX_NAME_LENGTH = 1000  # characters

_SHOWN = 80  # characters of a value in a message
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = _SHOWN
_REPR.maxlist = _REPR.maxdict = 20


class MistakeError(ValueError):
    """What is wrong inside the json, without the file's name."""


def short(value: Any) -> str:
    """A value as a message shows it: on one line, cut where it is long; of a list of millions a few are looked at."""
    text = _REPR.repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def field(entry: Any, name: str, where: str) -> Any:
    """The value of a key that has to be there."""
    if not isinstance(entry, dict):
        raise MistakeError(f"{where}: got {short(entry)}, expected an object")
    if name not in entry:
        raise MistakeError(f"{where}: no {name!r}, expected keys {name}, ...")
    return entry[name]


def optional(entry: dict[str, Any], name: str, default: Any) -> Any:
    """The value of a key that may be missing; null says as much as a missing key."""
    value = entry.get(name)
    return default if value is None else value


def integer(entry: Any, name: str, where: str, at_least: int = -MAX_ID) -> int:
    """A whole number of 64 bits."""
    value = field(entry, name, where)
    if isinstance(value, bool) or not isinstance(value, int) or not at_least <= value <= MAX_ID:
        bound = "" if at_least < 0 else f" and at least {at_least}"
        raise MistakeError(f"{where}: got {name} {short(value)}, expected a whole number of at most 64 bits{bound}")
    return value


def is_coordinate(value: Any) -> bool:
    """Whether this is a number of pixels that an image can have something at: finite, no further than the limit."""
    return is_number(value) and -MAX_COORDINATE_PX <= value <= MAX_COORDINATE_PX


def is_number(value: Any) -> bool:
    """Whether this is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf


def text_line(value: Any, what: str, where: str) -> str:
    """One line of text without space around it, as a list of classes (`labels.txt`) holds it."""
    good = isinstance(value, str) and value.strip() == value != "" and len(value.splitlines()) == 1
    if not good or not _is_plain(value):
        raise MistakeError(
            f"{where}: got the {what} {short(value)}, expected one line of text without space before or behind it, "
            f"of at most {MAX_NAME_LENGTH} characters"
        )
    return str(value)


def _is_plain(text: str) -> bool:
    """Whether a text can be written to a file and a terminal: no control character, no half of a surrogate pair."""
    plain = not any(ord(letter) < 32 or 0x7F <= ord(letter) < 0xA0 or 0xD800 <= ord(letter) < 0xE000 for letter in text)
    return plain and len(text) <= MAX_NAME_LENGTH
