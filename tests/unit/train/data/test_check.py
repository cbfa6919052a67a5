"""What training would stumble over is found before it begins; what changes later is one line that names the file."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from maskline_coco import image_headers
from maskline_coco.errors import DataError
from maskline_coco.image_limits import LIMITS
from maskline_train.cli import main
from maskline_train.data.coco import CocoDataset
from maskline_train.data.loader import eval_loader, train_loader
from maskline_train.data.transforms import Augmentation
from maskline_train.distributed import Processes
from maskline_train.fit import fit
from maskline_train.spec import PreprocessingSpec
from PIL import Image
from support.data.coco_files import HEIGHT, WIDTH, write
from support.models import tiny_recipe
from support.processes.in_process import call

SPEC = PreprocessingSpec(shorter_side_px=40, longer_side_px=80, canvases=((64, 96), (96, 64)))


def cut_off(path: Path) -> str:
    path.write_bytes(path.read_bytes()[:-30])
    return "cannot be decoded"


def too_many_bytes(path: Path) -> str:
    with path.open("r+b") as file:
        file.truncate(LIMITS.max_bytes + 1)
    return f"expected at most {LIMITS.max_bytes}; make it smaller"


def too_many_pixels(path: Path) -> str:
    Image.new("1", (20_001, 10)).save(path)
    return "got 20001x10 pixels, expected at most"


def another_size(path: Path) -> str:
    Image.new("RGB", (HEIGHT, WIDTH)).save(path)
    return "expected 30x20 as the json says"


def no_image(path: Path) -> str:
    path.write_text("text")
    return "not a JPEG, PNG"


def nothing(path: Path) -> str:
    path.write_bytes(b"")
    return "got an empty file"


SEEN_IN_HEADERS = [too_many_bytes, too_many_pixels, another_size, no_image, nothing]


def assert_one_line(text: str, *words: str) -> None:
    assert text.count("\n") == text.endswith("\n"), text
    for word in words:
        assert word in text


@pytest.mark.parametrize("headers", [(), ("--headers",)], ids=["decoding", "headers"])
@pytest.mark.parametrize("damage", SEEN_IN_HEADERS)
def test_check_refuses_what_cannot_be_trained_on(tmp_path: Path, damage, headers, capsys) -> None:
    write(tmp_path)
    text = damage(tmp_path / "train" / "a.png")
    assert call(main, "data", "check", str(tmp_path), "--split", "train", *headers) == 1
    assert_one_line(capsys.readouterr().err, "a.png", text, "(1 of 2 images have such a problem)")


def test_a_file_that_is_cut_off_is_found_by_decoding_alone(tmp_path: Path, capsys) -> None:
    write(tmp_path)
    text = cut_off(tmp_path / "train" / "b.png")
    assert call(main, "data", "check", str(tmp_path), "--split", "train", "--headers") == 0
    capsys.readouterr()
    assert call(main, "data", "check", str(tmp_path), "--split", "train") == 1
    assert_one_line(capsys.readouterr().err, "b.png", text)


def test_all_files_with_a_problem_are_counted_and_some_named(tmp_path: Path) -> None:
    write(tmp_path)
    cut_off(tmp_path / "train" / "a.png")
    cut_off(tmp_path / "train" / "b.png")
    seen: list[int] = []
    with pytest.raises(DataError, match=r"a\.png: .*\(2 of 2 images have such a problem; also .*b\.png\)"):
        CocoDataset(tmp_path, "train").check_images(lambda: seen.append(1))
    assert len(seen) == 2


def test_a_file_that_this_user_may_not_read_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    write(tmp_path)
    monkeypatch.setattr(image_headers.Image, "open", denied)  # not by chmod: root may read everything
    with pytest.raises(DataError, match=r"a\.png: permission denied, expected an image that this user may read"):
        CocoDataset(tmp_path, "train").check_headers()


@pytest.mark.parametrize("damage", SEEN_IN_HEADERS)
@pytest.mark.parametrize("split", ["train", "val"])
def test_fit_looks_at_the_headers_of_both_splits_first(tmp_path: Path, damage, split: str) -> None:
    for name in ("train", "val"):
        write(tmp_path, name)
    sets = [CocoDataset(tmp_path, name) for name in ("train", "val")]
    text = damage(tmp_path / split / "b.png")  # which holds no object: no step would ever draw it
    with pytest.raises(DataError, match=f"b\\.png: .*{text}"):
        fit(tiny_recipe.build(sets[0].classes), *sets, tmp_path / "out", Processes(0, 1, torch.device("cpu")))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_a_loading_process_is_one_line_with_the_file(tmp_path: Path, workers: int) -> None:
    write(tmp_path)
    dataset = CocoDataset(tmp_path, "train")
    text = cut_off(tmp_path / "train" / "a.png")
    with pytest.raises(DataError, match=text) as caught:
        list(eval_loader(dataset, SPEC, batch_size=2, workers=workers))
    assert_one_line(str(caught.value), "a.png")
    training = train_loader(dataset, SPEC, batch_size=2, seed=0, augmentation=Augmentation(), workers=workers)
    with pytest.raises(DataError, match=text) as caught:
        list(itertools.islice(training, 1))
    assert_one_line(str(caught.value), "a.png")


def test_so_is_a_file_that_has_gone(tmp_path: Path) -> None:
    write(tmp_path)
    dataset = CocoDataset(tmp_path, "train")
    (tmp_path / "train" / "a.png").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        list(eval_loader(dataset, SPEC, batch_size=2, workers=1))
    assert_one_line(str(caught.value), "a.png", "got no such file")


def test_a_picture_of_both_splits_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "val"):
        write(tmp_path, split)  # the same two pictures
    noise = np.random.default_rng(0).integers(0, 256, (2, HEIGHT, WIDTH, 3), np.uint8)
    for split, pixels in zip(("train", "val"), noise, strict=True):
        Image.fromarray(pixels).save(tmp_path / split / "a.bmp")  # of the same length, and different
        (tmp_path / split / "a.bmp").replace(tmp_path / split / "a.png")
    assert call(main, "data", "check", str(tmp_path)) == 0
    captured = capsys.readouterr()
    told = [line for line in captured.err.splitlines() if "the same picture" in line]
    assert told == [
        f"warning: {tmp_path / 'val' / 'b.png'}: the same picture is in train too, as 1 of 2; a score on what was "
        "learned by heart says little, so take them out of train or val"
    ]
    assert captured.out.splitlines()[-1] == f"Next: maskline-train new {tmp_path}"


def test_splits_that_share_nothing_are_not_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "train")
    write(tmp_path, "val")
    for number, name in enumerate(("a.png", "b.png")):
        Image.new("RGB", (WIDTH, HEIGHT), (200 + number, 5, 5)).save(tmp_path / "val" / name)
    assert call(main, "data", "check", str(tmp_path)) == 0
    assert "the same picture" not in capsys.readouterr().err


def test_one_split_alone_has_no_next_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "train")
    assert call(main, "data", "check", str(tmp_path), "--split", "train") == 0
    assert "Next:" not in capsys.readouterr().out
