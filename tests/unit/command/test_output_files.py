"""What a command writes at its end is refused at its start where it cannot be written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from maskline_client.cli import main as client
from maskline_command.output_files import refuse_unwritable
from maskline_export.cli import main as export
from maskline_train.cli import main as train
from support.processes.in_process import call


def test_a_place_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "there.json").write_text("old")
    refuse_unwritable(tmp_path / "there.json", tmp_path / "new" / "folders" / "a.json", None)
    assert [path.name for path in tmp_path.iterdir()] == ["there.json"]
    assert (tmp_path / "there.json").read_text() == "old"


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("file/a.json", NotADirectoryError),
        ("file/folders/a.json", NotADirectoryError),
        ("dangling/a.json", NotADirectoryError),
        ("folder", IsADirectoryError),
        ("n" * 300 + ".json", OSError),
        ("/proc/a.json", OSError),  # nobody may, not even root
    ],
)
def test_a_place_where_no_file_can_be_is_named(place: str, error: type[OSError], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(error) as caught:
        refuse_unwritable(tmp_path / place)
    assert caught.value.filename == str(tmp_path / place)


@pytest.mark.parametrize(
    ("main", "words"),
    [
        (train, ["evaluate", "no_checkpoint", "--data", "no_data", "--report"]),
        (train, ["evaluate", "no_checkpoint", "--data", "no_data", "--json"]),
        (train, ["evaluate", "no_checkpoint", "--data", "no_data", "--overlaps"]),
        (train, ["new", "no_data", "--out"]),
        (client, ["compare", "a", "b", "--images", ".", "--page"]),
        (client, ["compare", "a", "b", "--images", ".", "--json"]),
        (client, ["evaluate", "--data", "no_data", "--json"]),
        (client, ["evaluate", "--data", "no_data", "--results"]),
        (export, ["verify", "no_checkpoint", "no_artifact", "--json"]),
        (export, ["quantize", "no_artifact", "out", "--calibration", ".", "--json"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_says_so_before_anything_else(
    main: Callable[[], None],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    assert call(main, *words, "file/written.py") != 0
    assert "file/written.py: not a directory" in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
