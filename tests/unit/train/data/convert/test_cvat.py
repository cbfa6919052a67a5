"""CVAT's XML files, of Datumaro and written by hand as CVAT's page has them, become COCO data sets, pixel by pixel."""

import math

import numpy as np
import pytest
from support.data.converted import convert, masks_of
from support.data.foreign_labels import FOLDER, box, put_in, same, within_a_pixel
from support.data.mask_files import HEIGHT, WIDTH, write_picture

LABELS = "<labels><label><name>cat</name></label><label><name>dog</name></label></labels>"
POLYGON = '<polygon label="cat" points="5,6;15.00,6;15,20;5,20" z_order="0"/>'


def image(name, shapes, more=""):
    return f'<image id="0" name="{name}" width="{WIDTH}" height="{HEIGHT}"{more}>{shapes}</image>'


def xml(*images, labels=LABELS):
    content = f"<version>1.1</version><meta><task>{labels}</task></meta>{''.join(images)}"
    return f'<?xml version="1.0" encoding="utf-8"?><annotations>{content}</annotations>'


def write(source, text):
    """The file, and pictures a and b."""
    for name in "ab":
        write_picture(source / "images" / f"{name}.png")
    (source / "annotations.xml").write_text(text)


def found_in(out):
    return {**dict(masks_of(out, "train")), **dict(masks_of(out, "val"))}


def converted(tmp_path, shapes):
    """The objects of a picture with these shapes."""
    write(tmp_path / "source", xml(image("a.png", shapes), image("b.png", "")))
    assert convert("cvat", tmp_path / "source", tmp_path / "out") == 0
    found = found_in(tmp_path / "out")
    assert found["b.png"] == []
    return found["a.png"]


@pytest.mark.parametrize(
    ("folder", "name", "want"),
    [("cvat_masks", "a.png", put_in()), ("cvat_shapes", "city/b.png", [put_in()[3], ("dog", box(20, 5, 30, 13))])],
)
def test_datumaros_shapes_are_what_was_put_in(tmp_path, folder, name, want):
    assert convert("cvat", FOLDER / folder, tmp_path / "out") == 0
    found = found_in(tmp_path / "out")
    assert sorted(found) == sorted([name, "none.png"])
    assert same(found[name], want)
    assert found["none.png"] == []


def ellipse(x, y, across, down, degrees):
    """[H, W], pixel by pixel: turned back, is the centre within?"""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            turned = complex(column + 0.5 - x, row + 0.5 - y) * complex(
                math.cos(math.radians(degrees)), -math.sin(math.radians(degrees))
            )
            mask[row, column] = (turned.real / across) ** 2 + (turned.imag / down) ** 2 <= 1
    return mask


SHAPES = {
    "polygon": (POLYGON, box(5, 6, 15, 20)),
    "box": ('<box label="cat" xtl="5" ytl="6.00" xbr="15" ybr="20"/>', box(5, 6, 15, 20)),
    "box on its side": (
        '<box label="cat" xtl="10" ytl="15" xbr="30" ybr="25" rotation="90.00"/>',
        box(15, 10, 25, 30),
    ),
    "mask, row by row": (
        '<mask label="cat" rle="0, 4, 2, 2, 3, 1" left="10" top="12" width="4" height="3"/>',
        box(10, 12, 14, 13) | box(12, 13, 14, 14) | box(13, 14, 14, 15),
    ),
    "mask over the border": (
        '<mask label="cat" rle="0,12" left="-2" top="38" width="4" height="3"/>',
        box(0, 38, 2, 40),
    ),
    "ellipse": ('<ellipse label="cat" cx="20" cy="15" rx="12" ry="6"/>', ellipse(20, 15, 12, 6, 0)),
    "ellipse, turned": (
        '<ellipse label="cat" cx="20.3" cy="15.2" rx="12" ry="6" rotation="30"/>',
        ellipse(20.3, 15.2, 12, 6, 30),
    ),
    "ellipse over the border": (
        '<ellipse label="cat" cx="1.1" cy="15.2" rx="5" ry="6" rotation="350"/>',
        ellipse(1.1, 15.2, 5, 6, 350),
    ),
}


@pytest.mark.parametrize("case", SHAPES)
def test_each_shape_is_its_pixels(tmp_path, capsys, case):
    shape, want = SHAPES[case]
    ((name, mask),) = converted(tmp_path, shape)
    assert name == "cat"
    assert np.array_equal(mask, want)
    said = capsys.readouterr().out
    assert ("shapes beyond the picture, cut off at its border: 1" in said) == ("over" in case)
    assert ("boxes, taken as objects that fill them: 1" in said) == ("box" in case)


def test_a_box_turns_clockwise(tmp_path):
    """By 30 degrees; pycocotools draws a slanted outline through whole numbers, so a pixel beside is as right."""
    ((_, mask),) = converted(tmp_path, '<box label="cat" xtl="10" ytl="15" xbr="40" ybr="21" rotation="30"/>')
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    dx, dy, cos, sin = columns - 25, rows - 18, math.cos(math.pi / 6), math.sin(math.pi / 6)
    want = (abs(dx * cos + dy * sin) <= 15) & (abs(dy * cos - dx * sin) <= 3)
    assert within_a_pixel(mask, want)


def test_a_group_is_one_object_of_a_label_and_group_0_is_none(tmp_path):
    parts = [
        '<box label="cat" xtl="0" ytl="0" xbr="5" ybr="5" group_id="1"/>',
        '<mask label="cat" rle="0,9" left="30" top="20" width="3" height="3" group_id="1"/>',
        '<box label="dog" xtl="20" ytl="0" xbr="25" ybr="5" group_id="1"/>',
        '<box label="cat" xtl="40" ytl="0" xbr="45" ybr="5" group_id="0"/>',
        '<box label="cat" xtl="50" ytl="0" xbr="55" ybr="5" group_id="0"/>',
    ]
    want = [box(0, 0, 5, 5) | box(30, 20, 33, 23), box(20, 0, 25, 5), box(40, 0, 45, 5), box(50, 0, 55, 5)]
    assert same(converted(tmp_path, "".join(parts)), list(zip(("cat", "dog", "cat", "cat"), want, strict=True)))


def test_what_has_no_mask_is_left_out_and_counted(tmp_path, capsys):
    shapes = [f'<{tag} label="cat" points="1,1;2,2"/>' for tag in ("polyline", "points", "cuboid", "skeleton", "tag")]
    assert same(converted(tmp_path, "".join([*shapes, POLYGON])), [("cat", box(5, 6, 15, 20))])
    assert "shapes without a mask (polyline, points, cuboid, skeleton, tag), left out: 5" in capsys.readouterr().out


def test_subsets_are_splits_and_have_folders(tmp_path):
    source = tmp_path / "source"
    train, val = (image("c.png", POLYGON, f' subset="{name}"') for name in ("Train", "Validation"))
    write(source, xml(train, val))
    for name in ("Train", "Validation"):
        write_picture(source / "images" / name / "c.png")
    assert convert("cvat", source, tmp_path / "out") == 0
    for split in ("train", "val"):
        assert [name for name, _ in masks_of(tmp_path / "out", split)] == ["c.png"]


def test_a_file_a_subset_names_the_split(tmp_path):
    """So does Datumaro write them."""
    source = tmp_path / "source"
    write(source, xml(image("a.png", POLYGON)))
    (source / "annotations.xml").rename(source / "train.xml")
    (source / "validation.xml").write_text(xml(image("b.png", POLYGON)))
    assert convert("cvat", source, tmp_path / "out") == 0
    assert [name for name, _ in masks_of(tmp_path / "out", "val")] == ["b.png"]


def shape(text):
    return xml(image("a.png", text))


BOMB = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;">]><annotations>&c;</annotations>'
MISTAKES = {
    "entities": (BOMB, "got a DOCTYPE, expected none"),
    "elements a thousand deep": ("<a>" * 1000 + "</a>" * 1000, "got elements 21 deep"),
    "no XML": ("{}", "not a whole XML file"),
    "cut off": (shape(POLYGON)[:-20], "not a whole XML file"),
    "an encoding that is none": ('<?xml version="1.0" encoding="x"?><annotations/>', "not a whole XML file"),
    "tracks": ("<annotations><track/></annotations>", "got tracks, expected annotations of images"),
    "another file": ("<annotation/>", "got 'annotation', expected annotations of images"),
    "no labels": (xml(labels=""), "got no labels in meta"),
    "no image": (xml(), "got no image in annotations.xml"),
    "a picture that is not there": (xml(image("z.png", "")), "image 'z.png': got no such file in "),
    "a picture without a name": (xml(image("", "")), "image '': got the path ''"),
    "a path out of the folder": (xml(image("../../a.png", "")), "expected one inside"),
    "a subset out of the folder": (xml(image("a.png", "", ' subset="../.."')), "expected one inside"),
    "another size": (xml(image("a.png", "").replace('"40"', '"41"')), "got 60x41, expected 60x40"),
    "no size": (xml(image("a.png", "").replace('width="60"', "")), "image width: got '', expected a number"),
    "one picture of two in a subset": (
        xml(image("a.png", "", ' subset="Train"'), image("b.png", "")),
        "got 'b.png' in no subset",
    ),
    "a shape that is none": (shape('<spline label="cat"/>'), "image 'a.png': got 'spline', expected one of polygon"),
    "a label that is none": (shape(POLYGON.replace("cat", "pig")), "got the label 'pig', expected one of cat, dog"),
    "a point of one number": (shape(POLYGON.replace("5,6", "5")), "got points '5;15.00"),
    "NaN": (shape(POLYGON.replace("5,6", "nan,6")), "polygon: got 'nan', expected a number of pixels"),
    "a word": (shape(POLYGON.replace("5,6", "x,6")), "polygon: got 'x', expected a number of pixels"),
    "a box without a side": (shape('<box label="cat" xtl="1" ytl="1" xbr="5"/>'), "box ybr: got ''"),
    "an ellipse without a radius": (shape('<ellipse label="cat" cx="1" cy="1" rx="0" ry="5"/>'), "radii above 0"),
    "runs beyond the mask": (
        shape('<mask label="cat" rle="0,999999999" left="0" top="0" width="2" height="2"/>'),
        "got an rle of 999999999 pixels, expected 4",
    ),
    "runs below 0": (
        shape('<mask label="cat" rle="-1,5" left="0" top="0" width="2" height="2"/>'),
        "got the rle '-1,5'",
    ),
    "a run of thousands of digits": (
        shape(f'<mask label="cat" rle="{"1" * 5000}" left="0" top="0" width="2" height="2"/>'),
        "got the rle '111",
    ),
    "no runs": (shape('<mask label="cat" left="0" top="0" width="2" height="2"/>'), "got the rle ''"),
    "half a pixel": (
        shape('<mask label="cat" rle="0,4" left="0.5" top="0" width="2" height="2"/>'),
        "got a mask of [0.5, 0.0, 2.0, 2.0], expected whole pixels",
    ),
    "a mask beyond the picture": (
        shape('<mask label="cat" rle="0,4" left="0" top="0" width="61" height="2"/>'),
        "got a mask of [0.0, 0.0, 61.0, 2.0], expected whole pixels, within 60x40",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_names_its_place_and_nothing_is_written(tmp_path, capsys, case):
    text, said = MISTAKES[case]
    write(tmp_path / "source", text)
    assert convert("cvat", tmp_path / "source", tmp_path / "out") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "out").exists()


def test_no_file_is_a_line(tmp_path, capsys):
    assert convert("cvat", tmp_path, tmp_path / "out") == 1
    assert "got no .xml file, expected annotations.xml" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../source/images/a.png", "{source}/images/a.png", "x" * 300 + ".png"])
def test_a_picture_is_never_written_elsewhere(tmp_path, capsys, name):
    source = tmp_path / "source"
    write(source, xml(image(name.format(source=source), POLYGON), image("b.png", "")))
    before = sorted(tmp_path.rglob("*"))
    assert convert("cvat", source, tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "expected" in error
    assert sorted(tmp_path.rglob("*")) == before
