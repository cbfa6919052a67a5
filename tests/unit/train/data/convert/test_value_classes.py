"""`data convert masks --classes`: a file names the class of each value of ID maps."""

import json

import pytest
from support.data.converted import convert, masks_of
from support.data.foreign_labels import same
from support.data.mask_files import IDS, id_map, write_masks

NAMES = ("dog", "cat", "dog")
VALUES = {str(value): name for value, name in zip(IDS, NAMES, strict=True)}


def write(folder, content):
    """Maps a, b and c, and the file."""
    (folder / "classes.json").write_text(json.dumps(content))
    return write_masks(folder / "source"), folder / "out", "--classes", str(folder / "classes.json")


def found_in(out):
    return {**dict(masks_of(out, "train")), **dict(masks_of(out, "val"))}


def of(names):
    return [(name, id_map() == value) for name, value in zip(names, IDS, strict=True)]


def test_one_object_of_values_names_those_of_all_maps(tmp_path, capsys):
    assert convert("masks", *write(tmp_path, VALUES)) == 0
    found = found_in(tmp_path / "out")
    assert sorted(found) == ["a.png", "b.png", "c.png"]
    assert all(same(objects, of(NAMES)) for objects in found.values())
    assert "val: 1 picture, objects: 1 cat, 2 dog\n" in capsys.readouterr().out


def test_an_object_a_map_names_the_values_of_that_map(tmp_path):
    content = {"a": VALUES, "b": {**VALUES, str(IDS[0]): "cat"}, "c": VALUES}
    assert convert("masks", *write(tmp_path, content)) == 0
    found = found_in(tmp_path / "out")
    assert same(found["a.png"], of(NAMES))
    assert same(found["b.png"], of(("cat", "cat", "dog")))


MISTAKES = {
    "a value that is not named": ({"7": "dog", "300": "cat"}, "a.png: got the value 65535, expected one that "),
    "a map that is not named": ({"a": VALUES}, "b.png: got the value 7, expected one that "),
    "values beside maps": ({"a": VALUES, "7": "dog"}, "got values beside maps"),
    "a word for a value": ({**VALUES, "x": "dog"}, "got the value 'x', expected a number"),
    "the background": ({**VALUES, "0": "dog"}, "got the value '0', expected a number"),
    "a zero in front": ({**VALUES, "07": "dog"}, "got the value '07', expected a number"),
    "thousands of digits": ({**VALUES, "1" * 5000: "dog"}, "got the value '111"),
    "a number for a class": ({**VALUES, "7": 1}, "got the class 1"),
    "a list": ([], "got [], expected a JSON object"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_a_line_and_nothing_is_written(tmp_path, capsys, case):
    content, said = MISTAKES[case]
    assert convert("masks", *write(tmp_path, content)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "out").exists()


def test_folders_of_masks_have_no_values_to_name(tmp_path, capsys):
    source, *options = write(tmp_path, VALUES)
    (source / "masks").rename(source / "elsewhere")
    assert convert("masks", source, *options) == 1
    assert "source: got no images/ and masks/" in capsys.readouterr().err


def test_it_is_either_a_class_or_a_file_and_of_masks_alone(tmp_path, capsys):
    options = write(tmp_path, VALUES)
    assert convert("masks", *options, "--class", "blob") == 1
    assert "--class: got it beside --classes" in capsys.readouterr().err
    assert convert("yolo", *options) == 1
    assert "--classes: got " in capsys.readouterr().err
