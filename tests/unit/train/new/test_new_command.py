"""`maskline-train new` as a user types it, and the command that it prints."""

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from maskline_train.checkpoint import save_model
from maskline_train.cli import main
from PIL import Image
from support.data.shapes_data import write_shapes
from support.models.tiny import tiny_model
from support.processes.in_process import call


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("data") / "shapes", {"train": 4, "val": 3})


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Options that start from a small network, whose steps are timed in little time."""
    folder = tmp_path_factory.mktemp("init") / "checkpoint"
    save_model(folder, tiny_model())
    return "--init", str(folder), "--minutes", "0.1"


def test_the_printed_command_trains(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(main, "new", str(data), "--minutes", "0.1") == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("4 pictures of 96x128 px. Objects: ")
    assert printed[1].startswith("shapes.py: ")
    assert any(line.startswith("note: classes with few objects") for line in printed)
    assert any("more --minutes make a better model" in line for line in printed)
    program, *words = shlex.split(printed[-1].removeprefix("Next: "))
    assert program == "maskline-train"
    assert call(main, *words, "--steps", "1") == 0
    assert "Next: maskline ship runs/shapes/best repository" in capsys.readouterr().err
    assert "tensors fit" in (tmp_path / "runs" / "shapes" / "train.log").read_text()
    assert json.loads((tmp_path / "runs" / "shapes" / "recipe.json").read_text())["training"]["steps"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--out", "made.py"), "made.py: exists already"),
        (("--out", "recipe.txt"), "--out: got recipe.txt, expected a file name that ends in .py"),
        (("--init", "nowhere"), "maskline-train: --init: got nowhere, expected a checkpoint folder"),
        (("--train-split", "none"), "instances_none.json"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_timed(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("made.py").write_text("mine\n")
    assert call(main, "new", str(data), *options) == 1
    assert message in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["made.py"]
    assert Path("made.py").read_text() == "mine\n"


def test_pictures_that_are_to_be_cut_first_are_cut_next(
    quick: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_shapes(tmp_path / "large", {"train": 1, "val": 1}, sides_px=(8, 9))
    for split in ("train", "val"):
        file = folder / "annotations" / f"instances_{split}.json"
        content = json.loads(file.read_text())
        content["images"][0].update(height=960, width=1280)
        file.write_text(json.dumps(content))
        Image.new("RGB", (1280, 960), (90, 90, 90)).save(folder / split / "0001.png")
    monkeypatch.chdir(tmp_path)
    assert call(main, "new", "large", *quick) == 0
    printed = capsys.readouterr().out.splitlines()
    assert any("px for the network, the middle one" in line for line in printed)
    assert printed[-2].startswith("As they are: maskline-train fit large.py ")
    assert printed[-1].startswith("Next: maskline-train data tiles large large-tiles --size 64 && ")
    cut, chosen = printed[-1].removeprefix("Next: ").split(" && ")
    assert chosen == "maskline-train new large-tiles"
    assert call(main, *shlex.split(cut)[1:]) == 0


def test_a_set_without_objects_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_shapes(tmp_path / "empty", {"train": 2, "val": 1})
    file = folder / "annotations" / "instances_train.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "annotations": []}))
    monkeypatch.chdir(tmp_path)
    assert call(main, "new", str(folder)) == 1
    assert "got no object to train on" in " ".join(capsys.readouterr().err.split())


def test_splits_of_other_classes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_shapes(tmp_path / "other", {"train": 2, "val": 1})
    file = folder / "annotations" / "instances_val.json"
    content = json.loads(file.read_text())
    content["categories"][0]["name"] = "disc"
    file.write_text(json.dumps(content))
    monkeypatch.chdir(tmp_path)
    assert call(main, "new", str(folder)) == 1
    assert "both splits need the same categories" in " ".join(capsys.readouterr().err.split())


def test_pictures_of_16_bits_that_use_the_lowest_alone_are_told(
    quick: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_shapes(tmp_path / "dark", {"train": 2, "val": 1})
    for file in (folder / "train").iterdir():
        values = np.asarray(Image.open(file).convert("L")).astype(np.uint16)  # 0..255 of 65535
        Image.fromarray(values).save(file)
    monkeypatch.chdir(tmp_path)
    assert call(main, "new", str(folder), *quick) == 0
    assert "note: nearly black, as 2 of 2 pictures; values of 16 bits are divided by 257" in capsys.readouterr().out
    assert call(main, "data", "check", str(folder)) == 0
    warnings = capsys.readouterr().err.splitlines()
    assert [line for line in warnings if "nearly black" in line] == [
        f"warning: {folder / 'train' / '0001.png'}: nearly black, as 2 of 2 pictures; values of 16 bits are divided by "
        "257, so stretch them to the whole range, by one factor for all that is trained on and asked about"
    ]


def test_a_picture_to_learn_from_and_to_judge_by_is_told(
    quick: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_shapes(tmp_path / "twice", {"train": 2, "val": 1})
    shutil.copy(folder / "train" / "0002.png", folder / "val" / "0001.png")  # under another name
    monkeypatch.chdir(tmp_path)
    assert call(main, "new", str(folder), *quick) == 0
    told = f"note: {folder / 'val' / '0001.png'}: the same picture is in train too, as 1 of 1; "
    assert told in capsys.readouterr().out
