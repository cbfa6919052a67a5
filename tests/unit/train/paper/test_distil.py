"""Data distillation: which predictions become annotations, and that the joint set trains."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from maskline_train.checkpoint import save_model
from maskline_train.cli import main
from maskline_train.data.coco import CocoDataset
from maskline_train.data.errors import DataError
from maskline_train.distributed import Processes
from maskline_train.evaluation.many_views import View
from maskline_train.paper.distil import distil, select
from maskline_train.spec import KeypointHeadSpec
from pycocotools import mask as coco_mask
from support.data.shapes_data import write_shapes
from support.models.tiny import tiny_model, tiny_spec
from support.processes.in_process import call

RECIPE = str(Path(__file__).parents[3] / "support" / "models" / "tiny_recipe.py")
ALONE = Processes(0, 1, torch.device("cpu"))
VIEWS = (View(1.0, flipped=False), View(1.0, flipped=True))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four labelled images, three unlabelled ones in `photos`."""
    root = tmp_path_factory.mktemp("data")
    write_shapes(root / "shapes", {"train": 4, "val": 1})
    other = write_shapes(root / "other", {"train": 3}, seed=1)
    shutil.copytree(other / "train", root / "photos")
    (root / "photos" / "notes.txt").write_text("no image")
    return root


def result(score, mask):
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    segmentation = {"size": rle["size"], "counts": rle["counts"].decode("ascii")}
    return {"image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2], "score": score, "segmentation": segmentation}


def test_the_best_predictions_are_kept_and_empty_masks_are_not():
    full, empty = np.ones((4, 4)), np.zeros((4, 4))
    results = [result(0.2, full), result(0.9, empty), result(0.7, full), result(0.7, full), result(0.1, full)]
    results[3]["category_id"] = 2
    assert [(r["score"], r["category_id"]) for r in select(results, 1)] == [(0.7, 1)]  # a tie: the earlier
    assert [r["score"] for r in select(results, 3)] == [0.2, 0.7, 0.7]  # in their own order
    assert len(select(results, 99)) == 4
    assert select(results, 0) == []


def test_unlabelled_images_get_as_many_objects_as_labelled_ones_have(data, tmp_path):
    labelled, val_set = CocoDataset(data / "shapes", "train"), CocoDataset(data / "shapes", "val")
    report = distil(tiny_model(), labelled, val_set, data / "photos", tmp_path / "out", ALONE, VIEWS)
    objects = sum(len(record.annotations) for record in labelled)
    assert report.images == 3
    assert report.objects == round(objects / 4 * 3)
    assert report.labelled_mean == objects / 4
    joint = CocoDataset(tmp_path / "out", "train")
    joint.check_headers()
    assert (len(joint), joint.classes) == (7, labelled.classes)
    generated = [a for record in joint if record.file_name.startswith("unlabelled/") for a in record.annotations]
    assert len(generated) == report.objects
    content = json.loads((tmp_path / "out" / "annotations" / "instances_train.json").read_text())
    scores = [entry["score"] for entry in content["annotations"] if "score" in entry]
    assert min(scores) == report.score_thresh
    assert len({entry["id"] for entry in content["annotations"]}) == objects + report.objects
    for a, b in zip(labelled, joint, strict=False):  # the labelled part is what it was
        assert b.file_name == f"labelled/{a.file_name}"
        assert a.annotations == b.annotations
    assert np.array_equal(joint.image(4), CocoDataset(data / "other", "train").image(0))
    assert CocoDataset(tmp_path / "out", "val").image_ids == val_set.image_ids


def test_the_command_makes_a_set_that_fit_trains_on(data, tmp_path, capsys):
    save_model(tmp_path / "model", tiny_model())
    words = ("distil", str(tmp_path / "model"), "--data", str(data / "shapes"), "--images", str(data / "photos"))
    assert call(main, *words, "--out", str(tmp_path / "out")) == 0
    assert "3 unlabelled images, " in capsys.readouterr().out
    fit = ("fit", RECIPE, "--data", str(tmp_path / "out"), "--init", str(tmp_path / "model"), "--steps", "1")
    assert call(main, *fit, "--out", str(tmp_path / "run")) == 0
    assert "7 images" in (tmp_path / "run" / "train.log").read_text()
    assert call(main, *words, "--out", str(tmp_path / "out")) == 1
    assert "exists already, expected a new folder" in capsys.readouterr().err


def test_keypoints_become_as_visible_as_the_labelled_ones(data, tmp_path):
    """In the labelled set every object has two of its three keypoints; so have the generated ones on average."""
    root = tmp_path / "keypoints"
    shutil.copytree(data / "shapes", root)
    names = ["a", "b", "c"]
    for split in ("train", "val"):
        content = json.loads((root / "annotations" / f"instances_{split}.json").read_text())
        for category in content["categories"]:
            category["keypoints"] = names
        for entry in content["annotations"]:
            x, y = entry["bbox"][:2]
            entry |= {"keypoints": [x, y, 2, x + 2, y + 2, 1, 0, 0, 0], "num_keypoints": 2}
        (root / "annotations" / f"person_keypoints_{split}.json").write_text(json.dumps(content))
    head = KeypointHeadSpec(tuple(names), pooled_side=4, num_convs=1, channels=4)
    model = tiny_model(dataclasses.replace(tiny_spec(), keypoint_head=head))
    labelled, val_set = (CocoDataset(root, split, "person_keypoints") for split in ("train", "val"))
    report = distil(model, labelled, val_set, data / "photos", tmp_path / "out", ALONE, VIEWS[:1])
    joint = CocoDataset(tmp_path / "out", "train", "person_keypoints")
    generated = [a for record in joint if record.file_name.startswith("unlabelled/") for a in record.annotations]
    visibilities = [value for a in generated for value in a.keypoints[2::3]]
    assert len(generated) == report.objects > 0
    assert set(visibilities) == {0, 2}
    assert sum(value > 0 for value in visibilities) == 2 * report.objects


@pytest.mark.parametrize(
    ("images", "message"),
    [("shapes", "holds no image"), ("nowhere", "holds no image"), ("broken", "cannot be decoded")],
)
def test_what_cannot_be_distilled_is_refused_and_nothing_is_written(data, tmp_path, images, message):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "x.png").write_bytes(b"no image")
    folder = tmp_path / images if images == "broken" else data / images
    labelled = CocoDataset(data / "shapes", "train")
    with pytest.raises(DataError, match=message):
        distil(tiny_model(), labelled, labelled, folder, tmp_path / "out", ALONE, VIEWS)
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


def test_a_model_of_other_classes_is_refused(data, tmp_path):
    model = tiny_model(dataclasses.replace(tiny_spec(), classes=("cat",)))
    labelled = CocoDataset(data / "shapes", "train")
    with pytest.raises(ValueError, match="got classes circle, square, star, expected the model's cat"):
        distil(model, labelled, labelled, data / "photos", tmp_path / "out", ALONE, VIEWS)
