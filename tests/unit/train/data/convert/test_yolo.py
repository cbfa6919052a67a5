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
    "a root that is no text": (DATA.replace("path: .", "path: [.]"), "data.yaml: path: got ['.']"),
    "a picture folder elsewhere": (DATA.replace("images/val", "/usr/images"), "data.yaml: val: got the path"),
    "pictures out of the folder": (DATA.replace("images/val", "../other/images"), "data.yaml: val: got the path"),
    "out by a way in": (DATA.replace("images/val", "images/../../other"), "data.yaml: val: got the path"),
    "no such folder": (DATA.replace("images/val", "images/none"), "images/none: got no such folder or list"),
    "no such list": (DATA.replace("images/val", "val.txt"), "val.txt: got no such folder or list"),
    "no images in the path": (DATA.replace("images/val", "labels"), "labels: got no images/ in the path"),
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


def test_without_splits_and_without_images_the_folders_are_asked_for(tmp_path, capsys):
    write_labels(tmp_path / "source", [], "names: [cat, dog]\n")
    (tmp_path / "source" / "images").rename(tmp_path / "source" / "pictures")
    assert convert("yolo", tmp_path / "source", tmp_path / "out") == 1
    assert "data.yaml: got none of train, val, test, and no images/ beside it" in capsys.readouterr().err


LEADING_OUT = "paths of data.yaml or its lists that lead out of SOURCE, taken from its folder on: "
SAME_SET = {  # how data.yaml may say where the pictures are -> how often a path leads out
    "the root of another machine": (DATA.replace("path: .", "path: /content/set"), 1),
    "a root beside another folder, as Ultralytics' own": (DATA.replace("path: .", "path: coco8-seg"), 1),
    "a root above": (DATA.replace("path: .", "path: ../datasets"), 1),
    "folders from above, as Roboflow has them": (DATA.replace(": images", ": ../images"), 2),
    "an empty root": (DATA.replace("path: .\n", "path:\n"), 0),
    "backslashes": (DATA.replace("images/val", ".\\\\images\\val"), 0),
    "lists": (DATA.replace("images/train", "train.txt").replace("images/val", "val.txt"), 0),
    "a list and a folder": (DATA.replace("images/val", "[val.txt]"), 0),
}


@pytest.mark.parametrize("case", SAME_SET)
def test_pictures_are_found_however_their_place_is_written(tmp_path, capsys, case):
    data, leading_out = SAME_SET[case]
    source = tmp_path / "source"
    write_labels(source, [line(1, *corners(5, 6, 15, 20))], data)
    (source / "train.txt").write_text("./images/train/a.png\n")
    (source / "val.txt").write_text("images/val/city/b.png\n\nimages\\val\\c.png\n")
    assert convert("yolo", source, tmp_path / "out") == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == ["train: 1 picture, objects: 0 cat, 1 dog", "val: 2 pictures, objects: 0 cat, 1 dog"]
    assert [text for text in printed if text.startswith(LEADING_OUT)] == [f"{LEADING_OUT}{leading_out}"] * bool(
        leading_out
    )
    assert {name for name, _ in masks_of(tmp_path / "out", "val")} == {"city/b.png", "c.png"}


LISTS = {
    "a picture that is not there": (
        "images/val/none.png",
        "val.txt: line 2: got 'images/val/none.png', which is no file",
    ),
    "a picture elsewhere": ("/usr/images/a.png", "val.txt: line 2: got the path '/usr/images/a.png'"),
    "a name without an end": ("a" * 5000, "val.txt: line 2: got 'aaa"),
    "a folder": ("images", "val.txt: line 2: got 'images', which is no file"),
    "a picture without labels beside it": ("data.png", "data.png: got no images/ in the path"),
    "a picture twice": ("images/val/c.png", "c.png: got 2 pictures of that name in val"),
}


@pytest.mark.parametrize("case", LISTS)
def test_a_wrong_line_of_a_list_is_refused(tmp_path, capsys, case):
    text, said = LISTS[case]
    source = tmp_path / "source"
    write_labels(source, [], DATA.replace("images/val", "val.txt"))
    write_picture(source / "data.png")
    (source / "val.txt").write_text(f"images/val/c.png\n{text}\n")
    assert convert("yolo", source, tmp_path / "out") == 1
    (answer,) = capsys.readouterr().err.splitlines()
    assert said in answer
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("split", ["train: images/train", ""], ids=["a split of its own", "none"])
def test_another_name_of_the_yaml_file_is_as_good_where_it_is_alone(tmp_path, capsys, split):
    source = tmp_path / "source"
    write_labels(source, [], f"names: [cat, dog]\n{split}\n")
    (source / "data.yaml").rename(source / "cats.yml")
    assert convert("yolo", source, tmp_path / "out") == 0
    (source / "other.yaml").write_text("")
    assert convert("yolo", source, tmp_path / "again") == 1
    assert "got another YAML file beside it" in capsys.readouterr().err


def test_label_studios_classes_and_folders_are_a_set_to_draw_from(tmp_path, capsys):
    source = tmp_path / "source"
    write_labels(source, [line(1, *corners(5, 6, 15, 20))])
    (source / "data.yaml").unlink()
    (source / "classes.txt").write_text("cat\ndog\n")
    assert convert("yolo", source, tmp_path / "out") == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        "train: 2 pictures, objects: 0 cat, 1 dog",
        "val: 1 picture, objects: 0 cat, 1 dog",
    ]
    (source / "classes.txt").write_text("cat\n\ndog\n")
    assert convert("yolo", source, tmp_path / "again") == 1
    assert "classes.txt: names" in capsys.readouterr().err
