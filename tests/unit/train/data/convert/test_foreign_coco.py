"""COCO files that Datumaro, Label Studio and supervision wrote, not we, become the masks that were put in."""

import json

import numpy as np
import pytest
import supervision
from support.data.converted import convert, masks_of
from support.data.foreign_labels import FOLDER, box, put_in, same, within_a_pixel
from support.data.mask_files import IDS, id_map, write_picture


def test_datumaros_splits_are_kept_and_its_masks_are_crowds_only_if_the_user_does_not_say_otherwise(tmp_path, capsys):
    assert convert("coco", FOLDER / "coco", tmp_path / "as_said") == 0
    assert "objects with iscrowd 1, which training leaves out (--no-crowds" in capsys.readouterr().out
    for _, objects in masks_of(tmp_path / "as_said", "train"):
        assert same(objects, put_in()[3:])
    assert convert("coco", FOLDER / "coco", tmp_path / "out", "--no-crowds") == 0
    assert "objects with iscrowd 1, taken as objects: 9" in capsys.readouterr().out
    for split, names in (("train", ["a.png", "city/b.png"]), ("val", ["c.png"])):
        found = dict(masks_of(tmp_path / "out", split))
        assert list(found) == names
        assert all(same(objects, put_in()) for objects in found.values())


def test_run_lengths_and_polygons_stay_what_they_are(tmp_path):
    assert convert("coco", FOLDER / "coco", tmp_path / "out") == 0
    before, after = (
        json.loads((root / "annotations" / "instances_val.json").read_text())["annotations"]
        for root in (FOLDER / "coco", tmp_path / "out")
    )
    for key in ("segmentation", "bbox", "area", "iscrowd"):
        assert [entry[key] for entry in after] == [entry[key] for entry in before]


def test_of_one_file_for_all_a_split_is_drawn_and_a_picture_without_objects_stays(tmp_path):
    assert convert("coco", FOLDER / "coco_default", tmp_path / "out", "--no-crowds") == 0
    found = {**dict(masks_of(tmp_path / "out", "train")), **dict(masks_of(tmp_path / "out", "val"))}
    assert sorted(found) == ["a.png", "city/b.png", "none.png"]
    assert all(same(objects, [] if name == "none.png" else put_in()) for name, objects in found.items())


def test_label_studios_paths_lead_elsewhere_and_its_ids_begin_at_0(tmp_path, capsys):
    assert convert("coco", FOLDER / "label_studio", tmp_path / "out") == 0
    assert "pictures whose path leads out of SOURCE, found there by the file's name alone: 2" in capsys.readouterr().out
    for split in ("train", "val"):
        ((_, objects),) = masks_of(tmp_path / "out", split)
        assert same(objects, [("dog", box(6, 20, 30, 36))])


@pytest.mark.parametrize("folder", ["images", "pictures"])
def test_supervisions_file_is_taken_where_its_pictures_are_found(tmp_path, capsys, folder):
    source, masks = tmp_path / "source", np.stack([id_map() == value for value in IDS])
    paths = [str(write_picture(tmp_path / "made" / name)) for name in ("a.png", "b.png")]
    found = supervision.Detections(supervision.mask_to_xyxy(masks), mask=masks, class_id=np.array([1, 0, 1]))
    supervision.DetectionDataset(["cat", "dog"], paths, dict.fromkeys(paths, found)).as_coco(
        str(source / folder), str(source / "annotations.json")
    )
    if folder == "pictures":
        assert convert("coco", source, tmp_path / "out") == 1
        assert "annotations.json: got no picture 'a.png' in " in capsys.readouterr().err
        return
    assert convert("coco", source, tmp_path / "out") == 0
    ((_, objects),) = masks_of(tmp_path / "out", "train")
    assert [name for name, _ in objects] == ["dog", "cat", "dog"]
    assert all(within_a_pixel(found, mask) for (_, found), mask in zip(objects, masks, strict=True))
