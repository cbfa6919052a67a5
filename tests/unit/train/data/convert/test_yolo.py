"""Ultralytics' label files, written by hand as its documentation has them, become COCO data sets, pixel by pixel."""

import numpy as np
import pytest
from support.data.converted import convert, masks_of
from support.data.mask_files import HEIGHT, WIDTH, write_picture

DATA = "path: .\ntrain: images/train\nval: images/val\nnames: {0: cat, 1: dog}\n"


def line(label, *points):
    """Points in pixels, written as shares."""
    return " ".join([str(label), *(f"{x / WIDTH:.6f} {y / HEIGHT:.6f}" for x, y in points)])


def corners(x0, y0, x1, y1):
    return (x0, y0), (x1, y0), (x1, y1), (x0, y1)


def write_labels(source, lines, data=DATA):
    """A picture in train with these lines, another in a folder of val, and a third without a label file."""
    for name in ("train/a", "val/city/b", "val/c"):
        write_picture(source / "images" / f"{name}.png")
    (source / "data.yaml").write_text(data)
    for name, text in (("train/a", "\n".join(lines)), ("val/city/b", line(1, *corners(3, 4, 9, 20)) + "\n\n")):
        (source / "labels" / name).parent.mkdir(parents=True, exist_ok=True)
        (source / "labels" / f"{name}.txt").write_text(text)


def box(x0, y0, x1, y1):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


@pytest.mark.parametrize("names", ["{0: cat, 1: dog}", "{1: dog, 0: cat}", "[cat, dog]"])
def test_polygons_names_and_splits_are_those_of_the_files(tmp_path, capsys, names):
    lines = [line(1, *corners(5, 6, 15, 20)), line(0, *corners(50, 30, 66, 38))]
    write_labels(tmp_path / "source", lines, DATA.replace("{0: cat, 1: dog}", names))
    assert convert("yolo", tmp_path / "source", tmp_path / "out") == 0
    ((name, objects),) = masks_of(tmp_path / "out", "train")
    assert (name, [label for label, _ in objects]) == ("a.png", ["dog", "cat"])
    assert np.array_equal(objects[0][1], box(5, 6, 15, 20))
    assert np.array_equal(objects[1][1], box(50, 30, 60, 38))
    found = dict(masks_of(tmp_path / "out", "val"))
    ((label, mask),) = found["city/b.png"]
    assert label == "dog"
    assert np.array_equal(mask, box(3, 4, 9, 20))
    assert found["c.png"] == []
    assert capsys.readouterr().out.splitlines() == [
        "train: 1 picture, objects: 1 cat, 1 dog",
        "val: 2 pictures, objects: 0 cat, 1 dog",
        "pictures without a label file, kept as pictures without objects: 1",
        "shapes beyond the picture, cut off at its border: 1",
        f"Look through it: maskline-train data check {tmp_path / 'out'}",
        f"Next: maskline-train new {tmp_path / 'out'}",
    ]


def test_a_split_alone_is_named_for_the_next_command(tmp_path, capsys):
    write_labels(tmp_path / "source", [], "train: [images/train]\nnames: [cat, dog]\n")
    assert convert("yolo", tmp_path / "source", tmp_path / "out") == 0
    assert capsys.readouterr().out.endswith(f"data check {tmp_path / 'out'} --split train\n")


LABELS = {
    "a class beyond the names": ("2 0 0 1 0 1 1", "a.txt: line 2: got the class '2', expected 0 to 1"),
    "a class of more digits than Python reads": ("9" * 5000 + " 0 0 1 0 1 1", "line 2: got the class '999"),
    "a class behind zeros": ("0" * 10 + "5 0 0 1 0 1 1", "line 2: got the class '000"),
    "a class that is a word": ("cat 0 0 1 0 1 1", "line 2: got the class 'cat'"),
    "a box": ("0 0.5 0.5 0.2 0.2", "line 2: got a box"),
    "an odd number": ("0 0 0 1 0 1 1 0.5", "line 2: got [0.0, 0.0"),
    "pixels": ("0 10 10 50 10 50 30", "are they pixels?"),
    "no number": ("0 0 0 x 0 1 1", "line 2: could not convert"),
    "NaN": ("0 0 0 nan 0 1 1", "line 2: got [0.0, 0.0, nan"),
    "too many": ("\n" * 5001, "a.txt: got 5002 objects"),
}


@pytest.mark.parametrize("case", LABELS)
def test_a_wrong_line_names_itself_and_nothing_is_written(tmp_path, capsys, case):
    text, said = LABELS[case]
    write_labels(tmp_path / "source", [line(0, *corners(0, 0, 5, 5)), text])
    assert convert("yolo", tmp_path / "source", tmp_path / "out") == 1
    (answer,) = capsys.readouterr().err.splitlines()
    assert said in answer
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


YAMLS = {
    "out of the folder": (DATA.replace("path: .", "path: ../.."), "data.yaml: path: got the path"),
    "a root elsewhere": (DATA.replace("path: .", "path: /usr"), "expected one inside"),
    "pictures out of the folder": (DATA.replace("images/val", "../images"), "data.yaml: val: got the path"),
    "no such folder": (DATA.replace("images/val", "images/none"), "images/none: got no such folder"),
    "no images in the path": (DATA.replace("images/val", "labels"), "labels: got no images/ in the path"),
    "no split": ("names: [cat]", "data.yaml: got none of train, val, test"),
    "no names": ("train: images/train", "data.yaml: got names None"),
    "names with a gap": (DATA.replace("1: dog", "2: dog"), "data.yaml: got names {"),
    "a name twice": (DATA.replace("dog", "cat"), "expected each once"),
    "a name that is a number": (DATA.replace("dog", "7"), "got the class 7"),
    "no YAML": ("names: [", "data.yaml: not a YAML file"),
    "lists in lists": ("[" * 10_000, "data.yaml: not a YAML file"),
    "code": ("!!python/object/apply:os.system ['true']", "data.yaml: not a YAML file"),
    "a list": ("[]", "data.yaml: got [], expected names"),
}


@pytest.mark.parametrize("case", YAMLS)
def test_a_wrong_data_yaml_is_refused_in_a_line(tmp_path, capsys, case):
    text, said = YAMLS[case]
    write_labels(tmp_path / "source", [], text)
    assert convert("yolo", tmp_path / "source", tmp_path / "out") == 1
    (answer,) = capsys.readouterr().err.splitlines()
    assert said in answer


def test_a_label_file_without_its_picture_is_a_mistake(tmp_path, capsys):
    write_labels(tmp_path / "source", [])
    (tmp_path / "source" / "images" / "train" / "a.png").rename(tmp_path / "source" / "images" / "train" / "d.png")
    assert convert("yolo", tmp_path / "source", tmp_path / "out") == 1
    assert "labels/train/a.txt: got no picture of that name" in capsys.readouterr().err
