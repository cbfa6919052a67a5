"""What `detect` prints into a pipe: one line an object, whatever a file is called."""

from __future__ import annotations

from pathlib import Path

import pytest
from maskline_client.cli import main
from maskline_show.picture import colour_of
from PIL import Image
from support.processes.in_process import call
from unit.client.commands.test_cli import photo
from unit.client.triton_double import Server, file_with


def test_each_object_has_one_line_of_as_many_columns(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("a\nb.png", "c\td.png", "e\x1b[31m.png", "f\u2028.png", "[red]g.png", "h\u00f6.png")
    for name in names:
        (tmp_path / name).write_bytes(file_with(1))
    assert call(main, "detect", str(tmp_path), "--url", server.url) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[0].removeprefix(f"{tmp_path}/") for row in rows] == [
        *("[red]g.png", r"a\nb.png", r"c\td.png", r"e\x1b[31m.png", r"f\u2028.png", "h\u00f6.png"),
    ]
    assert {len(row) for row in rows} == {5}


def test_colours_of_a_drawn_picture_follow_the_class_or_the_object(server: Server, tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png")  # in which five objects of three classes are found
    drawn = {}
    for colours in ("class", "instance"):
        out = tmp_path / colours
        words = ("--url", server.url, "--out", str(out), "--colours", colours, "--score-thresh", "0")
        assert call(main, "detect", str(path), *words) == 0
        drawn[colours] = {colour for _, colour in Image.open(out / "a.png").getcolors(1 << 20)}
    fourth = colour_of(3)  # of the fourth object; a fourth class there is not
    assert fourth in drawn["instance"] - drawn["class"]


def test_where_nothing_is_sure_enough_the_best_score_is_said(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = photo(tmp_path / "a.png")
    assert call(main, "detect", str(path), "--url", server.url, "--score-thresh", "0.95") == 0
    assert capsys.readouterr().out == f"{path}\tnothing found; the best score is 0.900, not shown\n"
    path.write_bytes(file_with(0))
    assert call(main, "detect", str(path), "--url", server.url, "--score-thresh", "0.95") == 0
    assert capsys.readouterr().out == f"{path}\tnothing found\n"
