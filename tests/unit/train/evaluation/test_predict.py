"""`maskline-train predict`: files and folders of images, each with a drawn picture in its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from maskline_show.picture import PALETTE
from maskline_train.data.errors import ImageError
from maskline_train.evaluation.predict import predict_files
from PIL import Image
from support.models.tiny import tiny_model

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "sub/a.JPG", "sub/b.jfif", "notes.txt"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name == "notes.txt":
            path.write_text("no image")
        else:
            Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(path, "PNG")
    return tmp_path / "in"


def test_a_folder_is_searched_and_its_images_keep_their_places(folder: Path) -> None:
    out = folder / "drawn"  # below the folder itself: the next run leaves it out
    for _ in range(2):
        said = list(predict_files(tiny_model().eval(), [folder], out, 0.5, CPU))
        drawn = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
        assert drawn == ["a.png", "sub/a.png", "sub/b.png"]
        assert len(said) == 3


def test_two_images_for_one_picture_are_refused(folder: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(folder / "a.jpg")
    with pytest.raises(ValueError, match="two images would be written there"):
        list(predict_files(tiny_model().eval(), [folder], tmp_path / "out", 0.5, CPU))


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got a folder without images"):
        list(predict_files(tiny_model().eval(), [tmp_path], tmp_path / "out", 0.5, CPU))


def test_an_image_that_is_none_leaves_no_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("no image")
    with pytest.raises(ImageError, match=r"bad\.jpg: cannot be decoded"):
        list(predict_files(tiny_model().eval(), [tmp_path / "bad.jpg"], tmp_path / "out", 0.5, CPU))
    assert not (tmp_path / "out").exists()


def test_colours_follow_classes_or_instances(folder: Path, tmp_path: Path) -> None:
    """A model that finds one class everywhere: one colour of boxes for all, or one for each."""
    model = tiny_model().eval()
    model.box_head.class_logits.bias.data[:] = torch.tensor([0.0, 9.0, *[0.0] * (len(model.spec.classes) - 1)])
    colours = {}
    for colour_by in ("class", "instance"):
        out = tmp_path / colour_by
        (said,) = predict_files(model, [folder / "a.png"], out, 0.5, CPU, colour_by)
        assert int(said.split(": ")[1].split()[0]) >= 3
        picture = np.asarray(Image.open(out / "a.png")).reshape(-1, 3).astype(int)
        colours[colour_by] = {i for i in range(3) if (np.abs(picture - PALETTE[i]).max(axis=1) <= 25).any()}
    assert colours == {"class": {1}, "instance": {0, 1, 2}}


def test_where_nothing_is_sure_enough_the_best_score_is_said(folder: Path, tmp_path: Path) -> None:
    """Else nobody knows whether to train for longer or to ask for less."""
    model = tiny_model().eval()
    logits = torch.tensor([0.0, 2.0, *[0.0] * (len(model.spec.classes) - 1)])
    model.box_head.class_logits.weight.data.zero_()
    model.box_head.class_logits.bias.data[:] = logits
    (said,) = predict_files(model, [folder / "a.png"], tmp_path, 0.99, CPU)
    best = float(logits.softmax(0)[1])
    assert said == f"{tmp_path / 'a.png'}: 0 objects of score 0.99 or more; the best has {best:.3f}"
