"""A config of Detectron or maskrcnn-benchmark as settings by their full names: YAML, whose tags of Python run nothing.

Detectron writes its config into each file of weights as `yaml.dump` writes objects, so with tags such as
`!!python/object/new:detectron.utils.collections.AttrDict`. What stands behind a tag of Python is read as it is.
Ref: `envu.yaml_dump` of detectron/utils/env.py; `_decode_cfg_value` of yacs and of detectron/core/config.py.
"""

from __future__ import annotations

import ast
import itertools
from pathlib import Path
from typing import Any

import yaml

from maskline_train.convert.detectron2.config import MOST_SETTINGS, flat

_LONGEST = 1000  # characters of a text that may be a list
_DICT_ITEMS = "dictitems"  # where `yaml.dump` puts the entries of a subclass of dict


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads what stands behind a tag of Python as if there were none."""


def _untagged(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        if suffix.startswith(("str", "unicode")):
            return node.value
        plain = loader.resolve(yaml.ScalarNode, node.value, (True, False))
        return loader.construct_object(yaml.ScalarNode(plain, node.value))
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    content = loader.construct_mapping(node, deep=True)
    return content.get(_DICT_ITEMS, content)


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", _untagged)


def read_settings(path: Path, wanted: str) -> dict[str, Any]:
    """The settings of a file.

    Args:
        path: of the file.
        wanted: what an error asks for.

    Raises:
        OSError: it cannot be read.
        ValueError: no YAML of settings.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path}: a folder, expected a config; give the file in it")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {wanted}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error.reason}); {wanted}") from error
    return settings_of(text, str(path), wanted)


def settings_of(text: str, where: str, wanted: str) -> dict[str, Any]:
    """The settings of a text, e.g. `MODEL.MASK_ON`; a list that was written as Python has it, `(4, 8)`, as a list.

    Args:
        text: YAML.
        where: it is from, for errors.
        wanted: what an error asks for.

    Raises:
        ValueError: no YAML of settings.
    """
    try:
        content = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        line = (str(error).splitlines() or [""])[0]
        raise ValueError(f"{where}: not YAML ({line}); {wanted}") from error
    own = list(itertools.islice(flat(content), MOST_SETTINGS + 1))
    if not isinstance(content, dict) or not own or len(own) > MOST_SETTINGS:
        raise ValueError(f"{where}: no config of settings such as MODEL.MASK_ON; {wanted}")
    return {name: _decoded(value) for name, value in own}


def _decoded(value: Any) -> Any:
    """A list for a text that is one in Python; every other value as it is."""
    if not isinstance(value, str) or not value.startswith(("(", "[")) or len(value) > _LONGEST:
        return value
    try:
        found = ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value
    return list(found) if isinstance(found, tuple) else found
