"""What the bench of own data refuses, before it has trained for minutes."""

from __future__ import annotations

from pathlib import Path

import pytest
from maskline_bench.errors import BenchmarkError, in_one_line
from maskline_bench.own_data.__main__ import main
from maskline_bench.own_data.sets import Name


def test_a_wheel_that_is_not_there_is_named_and_nothing_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, in_one_line("own_data"):  # as the program itself, around the command
        main(tmp_path, tmp_path / "out", tmp_path / "a.json", only=[Name.NUCLEI])
    assert ended.value.code == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"own_data: {tmp_path}: got no stardist-*.whl; `pip download")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (BenchmarkError("boxes [N, 4] differ"), "program: boxes [N, 4] differ"),
        (ValueError("a bad\nvalue"), "program: a bad value"),
        (FileNotFoundError(2, "No such file or directory", "a.json"), "program: a.json: no such file or directory"),
    ],
)
def test_what_may_be_expected_is_one_line(error: Exception, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), in_one_line("program"):
        raise error
    assert capsys.readouterr().err == f"{line}\n"


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="exists already"):
        main(tmp_path, tmp_path, tmp_path / "a.json", only=[Name.COINS])
