"""A config of mmdetection is read and not run: assignments of literals and `dict(...)` calls, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from maskline_train.convert.mmdetection.config import config_in, flat, read_config

DUMPED = """
'''Words on their own.'''
model = dict(
    type='MaskRCNN',
    backbone=dict(strides=(1, 2, 2, 2), norm_cfg={'type': 'BN'}, frozen_stages=-1, dcn=None))
limits = [float_max, -1.5e3, True]
""".replace("float_max", "inf")


def test_a_dump_becomes_its_values() -> None:
    for meta in ({"cfg": DUMPED}, {"config": DUMPED, "epoch": 12}, {"cfg": None, "config": DUMPED}):
        config = config_in(meta)
        assert config == {
            "model": {
                "type": "MaskRCNN",
                "backbone": {"strides": [1, 2, 2, 2], "norm_cfg": {"type": "BN"}, "frozen_stages": -1, "dcn": None},
            },
            "limits": [float("inf"), -1500.0, True],
        }
        assert dict(flat(config["model"]))["backbone.norm_cfg.type"] == "BN"
    assert config_in({"epoch": 12}) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("_base_ = ['mask_rcnn.py']", r"is based on other files \(_base_\)"),
        ("import os", r"line 1 is code \(import os\), which is not run"),
        ("a = 1\nb = open('x')", r"line 2 is code \(Call\), which is not run"),
        ("a = dict(b=__import__('os').system('touch ran'))", r"is code \(Call\)"),
        ("a = dict(**b)", r"is code \(Call\)"),
        ("a = dict([1])", r"is code \(Call\)"),
        ("a = b", r"is code \(Name\)"),
        ("a = 1 + 1", r"is code \(BinOp\)"),
        ("a.b = 1", r"is code \(a.b = 1\)"),
        ("a = -'b'", r"is code \(UnaryOp\)"),
        ("a = {b: 1}", r"is code \(Dict\)"),
        ("a = f'{1}'", r"is code \(JoinedStr\)"),
        ("a = ...", r"is code \(Constant\)"),
        ("a = (", "not Python"),
        ("a = '\0'", "null bytes"),
        ("a = " + "[" * 60 + "]" * 60, "more than 40 parts in each other"),
        ("a = " + "[" * 5000, "not Python"),
        ("a = " + "-" * 200_000 + "1", "not Python"),
        ("a = b" + ".b" * 200_000, "not Python"),
        ("a = '" + "b" * 2_000_000 + "'", "got 2000006 characters, expected at most 2000000"),
    ],
)
def test_what_is_no_dump_is_one_line_and_runs_nothing(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match=rf"^the config in the file: [^\n]*{message}[^\n]*; give the dumped config[^\n]*$"
    ):
        config_in({"cfg": text})
    path = tmp_path / "config.py"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"^{path}: [^\n]*{message}"):
        read_config(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such file; expected mmdetection's dumped config.py"):
        read_config(tmp_path / "config.py")
    with pytest.raises(IsADirectoryError, match="a folder, expected"):
        read_config(tmp_path)
    (tmp_path / "config.py").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="not UTF-8"):
        read_config(tmp_path / "config.py")
