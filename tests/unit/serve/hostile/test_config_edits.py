"""Edits of config.pbtxt: whatever the text of a parameter is, it reads back as it was meant."""

from __future__ import annotations

import pytest
from maskline_serve.errors import RepositoryError
from maskline_serve.repository import config
from support.serving.model_files import TRITON_REPO

TEXT = (TRITON_REPO / "models" / "preprocess" / "config.pbtxt").read_text()


@pytest.mark.parametrize("value", ["\r", "\0", "a\tb", "\x7f", "\u2028", "\\", '"', "'", "\n", "}", "#", "猫", "\\n"])
def test_a_value_reads_back(value: str) -> None:
    for key in ("artifact_sha256", "labels"):  # one that is there, and one that is not
        once = config.with_parameter(TEXT, key, value, "here")
        twice = config.with_parameter(once, key, value + "x", "here")
        assert config.parse(once, "here").parameters[key].string_value == value
        assert config.parse(twice, "here").parameters[key].string_value == value + "x"


@pytest.mark.parametrize("key", ['a"b', "a\\", "\n", ""])
def test_a_key_reads_back(key: str) -> None:
    changed = config.with_parameter(TEXT, key, "1", "here")
    assert config.parse(config.with_parameter(changed, key, "2", "here"), "here").parameters[key].string_value == "2"


def test_a_dimension_beyond_64_bits_is_refused() -> None:
    with pytest.raises(RepositoryError, match=r"^here: image: got dims \[1180591620717411303424\]"):
        config.with_dims(TEXT, {"image": (2**70,)}, "here")


def test_a_mistake_is_told_in_one_line() -> None:
    with pytest.raises(RepositoryError, match=r"^here: [^\n]*expected Triton's model configuration$"):
        config.parse('name: "a\x17\r"\n}', "here")
