"""A JSON file that names the class of each value of an ID map.

`{"1": "cat", "2": "dog"}` for all maps, or `{"STEM": {"1": "cat", "2": "dog"}, ...}`, one such object a map.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from maskline_coco.fields import short

from maskline_train.data.convert.files import read_json
from maskline_train.data.convert.labelled import class_name
from maskline_train.data.errors import DataError


@dataclasses.dataclass(frozen=True)
class ValueClasses:
    """What the file says.

    Attributes:
        path: of the file.
        of_all: value -> class, of maps that `of_map` does not have.
        of_map: name of a map, without its ending -> (value -> class).
    """

    path: Path
    of_all: dict[str, str]
    of_map: dict[str, dict[str, str]]

    @property
    def names(self) -> tuple[str, ...]:
        """The classes, in alphabetical order."""
        return tuple(sorted({name for values in (self.of_all, *self.of_map.values()) for name in values.values()}))

    def name(self, map_path: Path, value: int) -> str:
        """The class of a value of a map.

        Raises:
            DataError: the file has none.
        """
        values = self.of_map.get(map_path.stem, self.of_all)
        if str(value) not in values:
            raise DataError(f"{map_path}: got the value {value}, expected one that {self.path} names; add it there")
        return values[str(value)]


def read_value_classes(path: Path) -> ValueClasses:
    """The file, in one of its two forms.

    Raises:
        DataError: no JSON object, both forms in one, or a name that is no line of text.
    """
    content = read_json(path)
    of_map = {stem: entry for stem, entry in content.items() if isinstance(entry, dict)}
    if of_map and len(of_map) < len(content):
        raise DataError(f"{path}: got values beside maps, expected either; see docs/data/convert.md")
    if of_map:
        return ValueClasses(path, {}, {stem: _names(entry, f"{path}: {short(stem)}") for stem, entry in of_map.items()})
    return ValueClasses(path, _names(content, str(path)), {})


def _names(values: dict[str, Any], where: str) -> dict[str, str]:
    for value in values:
        if not (value.isascii() and value.isdecimal()) or value != str(int(value[:9])) or value == "0":
            raise DataError(f"{where}: got the value {short(value)}, expected a number of a map, 1 or more; correct it")
    return {value: class_name(name, where) for value, name in values.items()}
