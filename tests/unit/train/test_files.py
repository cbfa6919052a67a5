"""Files and folders as any program leaves them: the umask's mode, and a failure that names the file."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from maskline_train.checkpoint import read_weights, save_model
from maskline_train.cli import main
from maskline_train.files import naming, replacing, whole_folder
from safetensors.torch import save_file
from support.data.shapes_data import write_shapes
from support.models.tiny import tiny_model
from support.processes.in_process import call, largest_file

TESTS = Path(__file__).parents[2]


@pytest.fixture(params=[0o022, 0o002, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield int(request.param)
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_files_and_folders_have_the_mode_of_the_umask(umask: int, tmp_path: Path) -> None:
    save_model(tmp_path / "model", tiny_model())
    with whole_folder(tmp_path / "whole", ValueError) as scratch:
        (scratch / "file").touch()
    for file in ("model/model.safetensors", "model/model.json", "whole/file"):
        assert mode(tmp_path / file) == 0o666 & ~umask, file
    for folder in ("model", "whole"):
        assert mode(tmp_path / folder) == 0o777 & ~umask, folder


def test_what_may_not_be_read_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"x": torch.zeros(1)}, path)

    def refuse(*_: object, **__: object) -> None:  # root, as whom tests may run, is refused nothing
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionError, match="Permission denied"):
        read_weights(path)


@pytest.mark.parametrize("text", ["PytorchStreamWriter failed writing file data.pkl", "Error: os error 28"])
def test_a_library_that_cannot_write_becomes_an_error_with_the_file(text: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"weights\.bin") as caught, naming(tmp_path / "weights.bin"):
        raise RuntimeError(text)
    assert caught.value.errno in (errno.ENOSPC, errno.EIO)
    with pytest.raises(RuntimeError, match="shapes differ"), naming(tmp_path / "weights.bin"):
        raise RuntimeError("shapes differ")
    with pytest.raises(OSError, match=r"weights\.bin"), naming(tmp_path / "weights.bin"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_nothing_is_left_of_a_file_that_could_not_be_written(tmp_path: Path) -> None:
    def write() -> None:
        with replacing(tmp_path / "file") as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError("iostream error")

    with pytest.raises(OSError, match="file"):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", [100, 1_500, 2_500, 9_000, 300_000])  # bytes a file may have: recipe to checkpoint
def test_fit_on_a_full_disk_ends_in_one_line_with_the_file(
    limit: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = write_shapes(tmp_path / "shapes", {"train": 4, "val": 2})
    recipe = str(TESTS / "support" / "models" / "tiny_recipe.py")
    with largest_file(limit):
        status = call(main, "fit", recipe, "--data", str(data), "--out", str(tmp_path / "run"))
    assert status == 1
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert line.startswith(f"maskline-train: {tmp_path / 'run'}"), line
    assert ".tmp" not in line
    assert not [path for path in (tmp_path / "run").rglob("*") if path.name.endswith(".tmp")]
