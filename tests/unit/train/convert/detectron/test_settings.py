"""Configs with tags of Python: read as they stand, and nothing of them is run."""

from __future__ import annotations

from pathlib import Path

import pytest
from maskline_train.convert.detectron.settings import read_settings, settings_of

WANTED = "give another"


@pytest.mark.parametrize(
    "tagged",
    [
        "!!python/object/apply:os.system ['{command}']",
        "!!python/object/new:os.system ['{command}']",
        "!!python/object/apply:subprocess.check_call [['sh', '-c', '{command}']]",
        '!!python/object/apply:builtins.eval [\'__import__("os").system("{command}")\']',
        "!!python/object:subprocess.Popen {{args: '{command}', shell: true}}",
        "!!python/name:os.system",
        "!!python/module:os.{command}",
    ],
)
def test_nothing_behind_a_tag_is_run(tagged: str, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    text = "TEST: {NMS: 0.5}\nOTHER: " + tagged.format(command=f"touch {ran}")
    (tmp_path / "config.yml").write_text(text, encoding="utf-8")
    settings = read_settings(tmp_path / "config.yml", WANTED)
    assert settings["TEST.NMS"] == 0.5
    assert not ran.exists()


def test_what_stands_behind_a_tag_is_read() -> None:
    text = """
        !!python/object/new:detectron.utils.collections.AttrDict
        dictitems:
          A: !!python/tuple [1, !!python/long 2, !!python/unicode 'x']
          B: !!python/object/new:detectron.utils.collections.AttrDict
            dictitems: {C: !!python/str 5, D: !!python/bool true}
            state: {__immutable__: true}
        state: {__immutable__: true}
    """
    assert settings_of(text, "cfg", WANTED) == {"A": [1, 2, "x"], "B.C": "5", "B.D": True}


def test_lists_in_the_way_of_python() -> None:
    text = "A: (4, 8)\nB: '[0.5, (1, 2)]'\nC: (os.system,)\nD: (1 + 1)\nE: R-50-FPN\nF: '((((('"
    assert settings_of(text, "cfg", WANTED) == {
        **{"A": [4, 8], "B": [0.5, (1, 2)], "C": "(os.system,)", "D": "(1 + 1)", "E": "R-50-FPN", "F": "((((("}
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "no config of settings"),
        ("", "no config of settings"),
        ("{a: {}}", "no config of settings"),
        ("a: [", "not YAML"),
        ("a: 2001-13-01", "not YAML"),
        ("a: !unknown {}", "not YAML"),
        ("? [1]\n: 2", "not YAML"),
        ("a: &x !!python/object/new:b.C {dictitems: {d: *x}}", "not YAML"),
        ("[" * 5000, "not YAML"),
        ("\n".join(f"a{index}: 1" for index in range(10_001)), "no config of settings"),
        (  # nine parts of nine parts, nine times: 9^9 settings
            "a: &a {x: 1}\n"
            + "\n".join(
                f"{chr(98 + i)}: &{chr(98 + i)} {{" + ", ".join(f"k{j}: *{chr(97 + i)}" for j in range(9)) + "}"
                for i in range(9)
            ),
            "no config of settings",
        ),
    ],
)
def test_what_is_no_config_says_so(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^cfg: .*({message}).*give another"):
        settings_of(text, "cfg", WANTED)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="a folder, expected a config"):
        read_settings(tmp_path, WANTED)
    with pytest.raises(FileNotFoundError, match="no such file; give another"):
        read_settings(tmp_path / "gone.yml", WANTED)
    (tmp_path / "config.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"not UTF-8 .*; give another"):
        read_settings(tmp_path / "config.yml", WANTED)
