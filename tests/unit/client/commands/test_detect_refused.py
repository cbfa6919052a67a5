"""`detect --out` writes what was found; of nothing but refused images there is nothing to write."""

from __future__ import annotations

from pathlib import Path

import pytest
from maskline_client.cli import main
from support.processes.in_process import call
from unit.client.commands.test_cli import photo
from unit.client.triton_double import REFUSED, Server


def test_a_refused_image_leaves_no_file_and_others_theirs(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.png").write_bytes(REFUSED)
    assert call(main, "detect", str(tmp_path / "bad.png"), "--out", str(tmp_path / "out"), "--url", server.url) == 2
    assert not (tmp_path / "out").exists()
    assert f"{tmp_path}/bad.png" in capsys.readouterr().err
    (tmp_path / "in").mkdir()
    (tmp_path / "bad.png").rename(tmp_path / "in" / "bad.png")
    photo(tmp_path / "in" / "good.png")
    assert call(main, "detect", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--url", server.url) == 2
    assert "detections.json" in {path.name for path in (tmp_path / "out").iterdir()}
