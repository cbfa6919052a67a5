"""LabelMe's JSON files, written by hand as its documentation has them, become COCO data sets, pixel by pixel."""

import base64
import io
import json
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from maskline_train.data.convert.labelme import read_labelme
from PIL import Image
from support.data.converted import convert, masks_of
from support.data.mask_files import HEIGHT, WIDTH, write_picture


def png(pixels):
    """A PNG in base64."""
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


def shape(kind, points, label="cat", **keys):
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **keys}


def write_labels(folder, name, shapes, **keys):
    """A label file and its picture."""
    write_picture(folder / f"{name}.png")
    label = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": f"{name}.png", "imageData": None}
    label |= {"imageHeight": HEIGHT, "imageWidth": WIDTH, **keys}
    (folder / f"{name}.json").write_text(json.dumps(label))


def converted(tmp_path, shapes):
    """The objects of a picture with these shapes."""
    write_labels(tmp_path / "source", "a", shapes)
    write_labels(tmp_path / "source" / "below", "b", [shape("rectangle", [[0, 0], [3, 3]], "dog")])
    assert convert("labelme", tmp_path / "source", tmp_path / "out") == 0
    found = {**dict(masks_of(tmp_path / "out", "train")), **dict(masks_of(tmp_path / "out", "val"))}
    assert sorted(found) == ["a.png", "below/b.png"]
    return found["a.png"]


def box(x0, y0, x1, y1):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def circle(x, y, radius):
    centre = ((column + 0.5, row + 0.5) for row in range(HEIGHT) for column in range(WIDTH))
    inside = [(px - x) ** 2 + (py - y) ** 2 <= radius * radius for px, py in centre]
    return np.array(inside).reshape(HEIGHT, WIDTH)


RING = np.pad(np.zeros((3, 4), np.uint8), 1, constant_values=1)
SHAPES = {
    "polygon": (shape("polygon", [[5, 6], [15, 6], [15, 20], [5, 20]]), box(5, 6, 15, 20)),
    "rectangle, from its last corner": (shape("rectangle", [[15, 20], [5, 6]]), box(5, 6, 15, 20)),
    "oriented rectangle": (
        shape("oriented_rectangle", [[5, 6], [15, 6], [15, 20], [5, 20]]),
        box(5, 6, 15, 20),
    ),
    "circle": (shape("circle", [[20, 15], [26, 23]]), circle(20, 15, 10)),
    "circle over the border": (shape("circle", [[0, 0], [6, 8]]), circle(0, 0, 10)),
    "mask with a hole": (
        shape("mask", [[10.0, 12.0], [15.0, 16.0]], mask=png(RING * 255)),
        box(10, 12, 16, 17) & ~box(11, 13, 15, 16),
    ),
    "mask over the border": (shape("mask", [[-2, -1], [3, 3]], mask=png(RING)), box(0, 0, 4, 4) & ~box(0, 0, 3, 3)),
    "rectangle over the border": (shape("rectangle", [[50, 30], [70, 50]]), box(50, 30, 60, 40)),
}


@pytest.mark.parametrize("case", SHAPES)
def test_each_shape_is_its_pixels(tmp_path, capsys, case):
    entry, want = SHAPES[case]
    ((name, mask),) = converted(tmp_path, [entry])
    assert name == "cat"
    assert np.array_equal(mask, want)
    assert ("shapes beyond the picture, cut off at its border: 1" in capsys.readouterr().out) == ("over" in case)


def test_a_group_is_one_object_of_a_class(tmp_path):
    parts = [
        shape("rectangle", [[0, 0], [5, 5]], group_id=1),
        shape("rectangle", [[10, 0], [15, 5]], group_id=1),
        shape("circle", [[30, 20], [35, 20]], group_id=2),
        shape("rectangle", [[40, 30], [50, 35]], group_id=2),
        shape("rectangle", [[20, 0], [25, 5]], "dog", group_id=1),
        shape("rectangle", [[0, 20], [5, 25]]),
        shape("rectangle", [[0, 30], [5, 35]]),
    ]
    found = converted(tmp_path, parts)
    assert [name for name, _ in found] == ["cat", "cat", "dog", "cat", "cat"]
    wanted = [
        box(0, 0, 5, 5) | box(10, 0, 15, 5),
        circle(30, 20, 5) | box(40, 30, 50, 35),
        box(20, 0, 25, 5),
        box(0, 20, 5, 25),
        box(0, 30, 5, 35),
    ]
    assert all(np.array_equal(mask, want) for (_, mask), want in zip(found, wanted, strict=True))


def test_what_has_no_area_is_left_out_and_counted(tmp_path, capsys):
    left = [shape("point", [[1, 1]]), shape("line", [[1, 1], [9, 9]]), shape("polygon", [[1, 1], [9, 9]])]
    outside = shape("rectangle", [[70, 0], [80, 9]])
    assert converted(tmp_path, [*left, outside]) == []
    assert capsys.readouterr().out.splitlines()[2:6] == [
        "objects without a pixel, left out: 1",
        "polygons of less than 3 points, left out: 1",
        "shapes beyond the picture, cut off at its border: 1",
        "shapes without area (point, points, line, linestrip), left out: 2",
    ]


def test_what_labelme_itself_ignores_is_no_object(tmp_path, capsys):
    there = shape("rectangle", [[5, 6], [15, 20]])
    ignored = [shape("rectangle", [[0, 0], [4, 4]], name) for name in ("__ignore__", "_background_", "__ignore__")]
    ((name, mask),) = converted(tmp_path, [there, *ignored])
    assert name == "cat"
    np.testing.assert_array_equal(mask, box(5, 6, 15, 20))
    assert "shapes named __ignore__ or _background_, left out as LabelMe's exporters do: 3" in capsys.readouterr().out


def test_a_picture_that_only_the_label_file_holds_is_written_and_one_without_labels_is_kept(tmp_path, capsys):
    source = tmp_path / "source"
    write_labels(source, "a", [shape("rectangle", [[0, 0], [5, 5]])])
    pixels = (source / "a.png").read_bytes()
    label = json.loads((source / "a.json").read_text())
    label["imageData"] = base64.b64encode(pixels).decode()
    (source / "a.json").write_text(json.dumps(label))
    (source / "a.png").unlink()
    write_picture(source / "b.png", 1)
    assert convert("labelme", source, tmp_path / "out") == 0
    (written,) = (tmp_path / "out").glob("*/a.png")
    assert written.read_bytes() == pixels
    said = capsys.readouterr().out
    assert "written from its imageData: 1" in said
    assert "pictures without a label file, kept as pictures without objects: 1" in said


def test_pictures_that_label_files_hold_are_not_held_all_at_once(tmp_path):
    source, behind = tmp_path / "source", bytes(1_000_000)  # behind a PNG's end its readers look at nothing
    for number in range(10):
        write_labels(source, f"{number}", [shape("rectangle", [[0, 0], [5, 5]])])
        label = json.loads((source / f"{number}.json").read_text())
        label["imageData"] = base64.b64encode((source / f"{number}.png").read_bytes() + behind).decode()
        (source / f"{number}.json").write_text(json.dumps(label))
        (source / f"{number}.png").unlink()
    tracemalloc.start()
    try:
        labelled = read_labelme(source, Counter())
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(labelled.pictures) == 10
    assert held < len(behind)  # less than one of the ten


RECTANGLE = [[0, 0], [5, 5]]
HOSTILE = {
    "an unknown shape": ({"shapes": [shape("spline", RECTANGLE)]}, "shapes[0]: got shape_type 'spline'"),
    "a shape type that is a list": ({"shapes": [shape([], RECTANGLE)]}, "shapes[0]: got shape_type []"),
    "no class": ({"shapes": [shape("rectangle", RECTANGLE, "")]}, "shapes[0]: got the class ''"),
    "a point of one number": ({"shapes": [shape("polygon", [[1], [2, 3], [4, 5]])]}, "shapes[0]: got points [[1], "),
    "a point at 1e9": ({"shapes": [shape("polygon", [[1e9, 0], [2, 3], [4, 5]])]}, "shapes[0]: got points "),
    "a point that is no number": ({"shapes": [shape("circle", [[float("nan"), 0], [2, 3]])]}, "got points [[nan, 0]"),
    "a rectangle of three points": ({"shapes": [shape("rectangle", [*RECTANGLE, [1, 1]])]}, "expected 2 pairs"),
    "a group that is a list": ({"shapes": [shape("rectangle", RECTANGLE, group_id=[])]}, "got group_id []"),
    "no shapes": ({"shapes": {}}, "got shapes {}, expected a list"),
    "a path out of the folder": ({"imagePath": "../../../etc/passwd"}, "expected one inside"),
    "a path of Windows out of the folder": ({"imagePath": "..\\..\\a.png"}, "expected one inside"),
    "no picture at all": ({"imagePath": "none.png"}, "imageData, as there is no "),
    "another size": ({"imageHeight": WIDTH, "imageWidth": HEIGHT}, "got imageWidth 40 and imageHeight 60, expected"),
    "a mask of another size": (
        {"shapes": [shape("mask", RECTANGLE, mask=png(RING))]},
        "shapes[0]: mask: got 6x5 pixels, expected 6x6",
    ),
    "a mask that is no PNG": ({"shapes": [shape("mask", RECTANGLE, mask="AAAA")]}, "mask: cannot be read"),
    "a mask that is no base64": ({"shapes": [shape("mask", RECTANGLE, mask="?")]}, "expected a file in base64"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_mistake_names_its_file_and_place_and_nothing_is_written(tmp_path, capsys, case):
    keys, said = HOSTILE[case]
    write_labels(tmp_path / "source", "good", [shape("rectangle", RECTANGLE)])
    write_labels(tmp_path / "source", "bad", **{"shapes": [], **keys})
    assert convert("labelme", tmp_path / "source", tmp_path / "out") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path / 'source' / 'bad.json'}: " in line
    assert said in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "[]", "\x00"], ids=["nested", "cut off", "a list", "no JSON"])
def test_what_is_no_json_object_is_refused_in_a_line(tmp_path, capsys, text):
    write_labels(tmp_path / "source", "good", [])
    (tmp_path / "source" / "bad.json").write_text(text)
    assert convert("labelme", tmp_path / "source", tmp_path / "out") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path / 'source' / 'bad.json'}: " in line


def test_two_label_files_of_a_picture_are_refused(tmp_path, capsys):
    write_labels(tmp_path / "source", "a", [shape("rectangle", RECTANGLE)])
    (tmp_path / "source" / "b.json").write_bytes((tmp_path / "source" / "a.json").read_bytes())
    assert convert("labelme", tmp_path / "source", tmp_path / "out") == 1
    assert "a.png: got 2 pictures of that name" in capsys.readouterr().err


def test_a_class_cannot_be_given_to_what_names_its_own(tmp_path, capsys):
    assert convert("labelme", tmp_path, tmp_path / "out", "--class", "cat") == 1
    assert "--class: got cat, expected none" in capsys.readouterr().err
