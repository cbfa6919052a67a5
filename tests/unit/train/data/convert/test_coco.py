"""COCO exports in the layouts of other tools, written by hand, become data sets that training takes."""

import json

import pytest
from support.data.converted import convert, masks_of
from support.data.foreign_labels import box, same
from support.data.mask_files import HEIGHT, WIDTH, write_picture

SQUARE = [5, 6, 15, 6, 15, 20, 5, 20]


def entry(**keys):
    return {"id": 0, "image_id": 0, "category_id": 1, "bbox": [5, 6, 10, 14], "segmentation": [SQUARE], **keys}


def content(*annotations, names=("a.png",), categories=((0, "cat", ""), (1, "dog", ""))):
    """A file of these pictures, all of the same size."""
    images = [{"id": i, "file_name": name, "height": HEIGHT, "width": WIDTH} for i, name in enumerate(names)]
    named = [{"id": key, "name": name, "supercategory": group} for key, name, group in categories]
    return {"images": images, "annotations": list(annotations), "categories": named}


def write(path, value, *pictures):
    """The file, and pictures beside its folder's root."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    for picture in pictures:
        write_picture(picture)


def of_splits(file, picture, *splits):
    return [path.replace("S", split) for split in splits for path in (file, picture)]


LAYOUTS = {
    "Roboflow's": ("train/_annotations.coco.json", "train/a.png", "valid/_annotations.coco.json", "valid/a.png"),
    "COCO's": of_splits("annotations/instances_S.json", "S/a.png", "train2017", "val2017"),
    "Datumaro's": of_splits("annotations/instances_S.json", "images/S/a.png", "train", "val"),
    "files side by side": ("train.json", "train/a.png", "val.json", "val/a.png"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_splits_and_pictures_are_found_in(tmp_path, layout):
    source = tmp_path / "source"
    train, picture, val, other = (source / name for name in LAYOUTS[layout])
    write(train, content(entry()), picture)
    write(val, content(entry(segmentation=[[1, 2, 9, 2, 9, 8, 1, 8]])), other)
    assert convert("coco", source, tmp_path / "out") == 0
    assert same(dict(masks_of(tmp_path / "out", "train"))["a.png"], [("dog", box(5, 6, 15, 20))])
    assert same(dict(masks_of(tmp_path / "out", "val"))["a.png"], [("dog", box(1, 2, 9, 8))])


def test_the_other_files_of_coco_are_no_annotations_of_objects(tmp_path):
    source = tmp_path / "source"
    for split in ("train", "val"):
        write(source / f"annotations/instances_{split}.json", content(entry()), source / split / "a.png")
        write(source / f"annotations/captions_{split}.json", {"images": [], "annotations": []})
    assert convert("coco", source, tmp_path / "out") == 0


@pytest.mark.parametrize("group", ["animals", "dog"])
def test_a_category_that_only_groups_others_is_no_class(tmp_path, capsys, group):
    """Roboflow adds one, at times with the name of a class."""
    categories = ((0, group, "none"), (1, "cat", group), (2, "dog", group))
    value = content(entry(category_id=2), entry(category_id=2, image_id=1), names=("a.png", "b.png"))
    value["categories"] = content(categories=categories)["categories"]
    source = tmp_path / "source"
    write(source / "_annotations.coco.json", value, source / "a.png", source / "b.png")
    assert convert("coco", source, tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "train: 1 picture, objects: 0 cat, 1 dog\nval: 1 picture, objects: 0 cat, 1 dog\n" in said
    assert "categories without an object that only group others (supercategory), left out: 1\n" in said


def test_a_group_with_objects_and_a_class_without_stay_classes(tmp_path, capsys):
    categories = ((1, "dog", "dog"), (2, "pug", "dog"), (3, "cat", "cat"))
    value = content(entry(), entry(image_id=1), names=("a.png", "b.png"), categories=categories)
    source = tmp_path / "source"
    write(source / "result.json", value, source / "a.png", source / "b.png")
    assert convert("coco", source, tmp_path / "out") == 0
    assert "train: 1 picture, objects: 1 dog, 0 pug, 0 cat\n" in capsys.readouterr().out


def test_what_cannot_be_kept_is_counted(tmp_path, capsys):
    source = tmp_path / "source"
    empty_runs = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}
    annotations = [
        entry(),
        entry(segmentation=[]),
        entry(segmentation=[SQUARE, [1, 1, 2, 2]]),
        entry(segmentation=[[1, 1, 2, 2]]),
        entry(segmentation=empty_runs),
        entry(segmentation=[[50, 30, 70, 30, 70, 38, 50, 38]], iscrowd=1),
    ]
    names = ("C:\\photos\\a.png", "city\\b.png")
    write(source / "result.json", content(*annotations, names=names), source / "a.png", source / "images/city/b.png")
    assert convert("coco", source, tmp_path / "out") == 0
    assert capsys.readouterr().out.splitlines()[2:-2] == [
        "objects with iscrowd 1, which training leaves out (--no-crowds takes them as objects): 1",
        "objects without a mask (boxes alone), left out: 1",
        "objects without a pixel, left out: 1",
        "pictures whose path leads out of SOURCE, found there by the file's name alone: 1",
        "polygons of less than 3 points, left out: 2",
        "shapes beyond the picture, cut off at its border: 1",
    ]
    found = {**dict(masks_of(tmp_path / "out", "train")), **dict(masks_of(tmp_path / "out", "val"))}
    assert sorted(found) == ["a.png", "city/b.png"]
    assert same(found["a.png"], [("dog", box(5, 6, 15, 20))] * 2)


def test_keypoints_are_said_to_be_left_out(tmp_path, capsys):
    source, value = tmp_path / "source", content(entry(keypoints=[7, 8, 2]), names=("a.png", "b.png"))
    value["categories"][1]["keypoints"] = ["nose"]
    write(source / "result.json", value, source / "a.png", source / "b.png")
    assert convert("coco", source, tmp_path / "out") == 0
    assert "objects with keypoints, of which the mask is kept alone: 1" in capsys.readouterr().out


HOSTILE = {
    "boxes alone": (content(entry(segmentation=[])), "all of them boxes without a mask"),
    "another size": (
        {**content(), "images": [{"id": 1, "file_name": "a.png", "height": WIDTH, "width": HEIGHT}]},
        "got 40x60 for 'a.png', expected 60x40",
    ),
    "a picture that is not there": (content(names=("none.png",)), "got no picture 'none.png' in "),
    "a name that is too long": (content(names=("a" * 300 + ".png",)), "got no picture 'aaa"),
    "a name of dots": (content(names=("..",)), "got file_name '..', expected a path inside"),
    "no name": (content(names=("",)), "got no picture '.' in "),
    "a picture twice": (content(names=("a.png", "a.png")), "a.png: got 2 pictures of that name"),
    "a class that is not there": (content(entry(category_id=7)), "annotations[0] (id 1): unknown category_id 7"),
    "a name twice": (content(categories=((0, "cat", ""), (1, "cat", ""))), "the category name 'cat' is there twice"),
    "runs beyond the picture": (
        content(entry(segmentation={"size": [HEIGHT, WIDTH], "counts": [9999]})),
        "segmentation.counts: got runs of 9999 pixels, expected 2400",
    ),
    "annotations that are numbers": ({**content(), "annotations": [1]}, "annotations[0]: got 1, expected an object"),
    "lists for ids": ({**content(), "annotations": [entry(category_id=[])]}, "got category_id []"),
    "numbers for pictures": ({**content(), "images": [1]}, "images[0]: got 1, expected an object"),
    "no categories": ({"images": [], "annotations": []}, "got no list 'categories'"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_mistake_names_its_place_and_nothing_is_written(tmp_path, capsys, case):
    value, said = HOSTILE[case]
    source = tmp_path / "source"
    write(source / "result.json", value, source / "a.png")
    assert convert("coco", source, tmp_path / "out") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_a_file_of_no_split_beside_one_of_train_is_refused(tmp_path, capsys):
    source = tmp_path / "source"
    write(source / "annotations/instances_train.json", content(entry()), source / "train/a.png")
    write(source / "annotations/instances_default.json", content(entry()), source / "default/a.png")
    assert convert("coco", source, tmp_path / "out") == 1
    assert "instances_default.json: got a file of no split beside others" in capsys.readouterr().err


def test_no_file_is_a_line(tmp_path, capsys):
    assert convert("coco", tmp_path, tmp_path / "out") == 1
    assert "got no .json file" in capsys.readouterr().err


def test_crowds_are_asked_for_of_coco_alone(tmp_path, capsys):
    assert convert("labelme", tmp_path, tmp_path / "out", "--no-crowds") == 1
    assert "--no-crowds: got it for labelme, expected it for coco" in capsys.readouterr().err
