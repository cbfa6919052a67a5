"""Cityscapes: reading its files, the COCO set made of them, and both metrics."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from maskline_train.checkpoint import save_model
from maskline_train.cli import main
from maskline_train.data.cityscapes import CLASSES, LABELS, convert, find_frames, instances_of, read_id_map
from maskline_train.data.coco import CocoDataset
from maskline_train.data.errors import DataError
from maskline_train.evaluation.cityscapes_metric import THRESHOLDS, CityscapesMetrics, score_cityscapes
from maskline_train.evaluation.evaluate import score
from PIL import Image
from pycocotools import mask as coco_mask
from support.data.cityscapes_files import STREET, id_map, write_cityscapes
from support.data.shapes_data import write_shapes
from support.models.tiny import tiny_model, tiny_spec
from support.processes.in_process import call

CAR = LABELS["car"]


def result(image_id, category_id, mask, confidence):
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    box = [float(value) for value in coco_mask.toBbox(rle)]
    segmentation = {"size": rle["size"], "counts": rle["counts"].decode("ascii")}
    return {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": box,
        "score": confidence,
        "segmentation": segmentation,
    }


def rectangle(x0, y0, x1, y1):
    mask = np.zeros((64, 128), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def converted(folder: Path, scenes: list) -> tuple[Path, CocoDataset]:
    root = write_cityscapes(folder / "cityscapes", {"val": scenes})
    convert(root, folder / "coco", ["val"])
    return root, CocoDataset(folder / "coco", "val")


@pytest.mark.parametrize("with_ids", [True, False], ids=["id map", "polygons"])
def test_objects_are_the_visible_pixels_of_the_eight_classes(tmp_path, with_ids):
    root = write_cityscapes(tmp_path, {"train": [STREET]}, with_ids=with_ids)
    (frame,) = find_frames(root, "train")
    assert frame.name == "aachen/aachen_000000_000019"
    ids = read_id_map(frame)
    assert np.array_equal(ids, id_map(STREET)[0])
    found = [(CLASSES[i.label], int(i.mask.sum()), i.is_group) for i in instances_of(ids)]
    assert found == [
        ("car", 36 * 12, True),  # the group has the smallest ID; the caravan, no scored class, is not there
        ("person", 10 * 28, False),
        ("rider", 14 * 22 - 14 * 4, False),  # without what the bicycle covers
        ("car", 36 * 20 - 10 * 16, False),
        ("car", 30 * 24, False),  # the license plate is part of it
        ("bus", 14 * 6, False),
        ("bicycle", 20 * 16, False),
    ]


def test_a_converted_set_trains_on_objects_and_knows_groups_as_crowds(tmp_path):
    root, dataset = converted(tmp_path, [STREET, STREET[:3]])
    assert dataset.classes == CLASSES
    assert dataset.unused == {"crowd regions": 1}
    assert [record.file_name for record in dataset] == [
        "aachen/aachen_000000_000019_leftImg8bit.png",
        "zurich/zurich_000001_000019_leftImg8bit.png",
    ]
    dataset.check_headers()
    assert np.array_equal(dataset.image(0), id_map(STREET)[1])
    objects = dataset.objects(0)
    assert [CLASSES[label] for label in objects.labels] == ["person", "rider", "car", "car", "bus", "bicycle"]
    assert objects.boxes[2].tolist() == [4, 8, 40, 28]  # still its whole box: a strip at the top is visible
    assert np.array_equal(objects.masks[2].astype(bool), rectangle(4, 8, 40, 28) & ~rectangle(30, 12, 60, 36))
    assert (tmp_path / "coco" / "val").resolve() == (root / "leftImg8bit" / "val").resolve()


def test_the_command_converts_and_says_how_many_objects_there_are(tmp_path, capsys):
    root = write_cityscapes(tmp_path / "cityscapes", {"train": [STREET, STREET], "val": [STREET]})
    assert call(main, "data", "cityscapes", str(root), str(tmp_path / "out")) == 0
    output = capsys.readouterr().out
    assert "train" in output
    row = next(line for line in output.splitlines() if "car" in line)
    assert [int(word) for word in row.split() if word.isdigit()] == [4, 2]
    assert CocoDataset(tmp_path / "out", "train").classes == CLASSES


NO_ANNOTATION = "not a Cityscapes annotation"
WRONG_JSON = {
    "no fields": ("{}", NO_ANNOTATION),
    "too deep": ("[" * 100_000, NO_ANNOTATION),
    "no object": ('{"imgWidth": 8, "imgHeight": 8, "objects": ["car"]}', NO_ANNOTATION),
    "a size in words": ('{"imgWidth": "8", "imgHeight": "8", "objects": []}', NO_ANNOTATION),
    "a side below 1": ('{"imgWidth": -8, "imgHeight": 8, "objects": []}', "got -8x8 pixels, expected at least 1x1"),
    "16 TB": ('{"imgWidth": 2000000, "imgHeight": 2000000, "objects": []}', "expected at most 50000000 pixels"),
    "a point of one number": (
        '{"imgWidth": 8, "imgHeight": 8, "objects": [{"label": "car", "polygon": [[1]]}]}',
        NO_ANNOTATION,
    ),
    "a label of nobody's": (
        '{"imgWidth": 8, "imgHeight": 8, "objects": [{"label": "cat", "polygon": [[1, 1]]}]}',
        r"polygons\.json: unknown label 'cat', expected one",
    ),
}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "leftImg8bit" / "val").rename(root / "leftImg8bit" / "other"), "splits there: other"),
        (lambda root: [p.unlink() for p in root.rglob("gtFine/*/*/*")], "no such file, nor instanceIds.png beside it"),
        (lambda root: [p.write_bytes(b"x") for p in root.rglob("*instanceIds.png")], "cannot be read"),
        (
            lambda root: [Image.fromarray(id_map(STREET)[0]).save(p, "TIFF") for p in root.rglob("*instanceIds.png")],
            "cannot be read",
        ),
        (
            lambda root: [Image.new("L", (8, 8)).save(p) for p in root.rglob("*instanceIds.png")],
            "got an image of mode L, expected 16-bit IDs",
        ),
        *(
            (
                lambda root, text=text: [
                    (p.unlink(), Path(str(p).replace("instanceIds.png", "polygons.json")).write_text(text))
                    for p in root.rglob("*instanceIds.png")
                ],
                message,
            )
            for text, message in WRONG_JSON.values()
        ),
    ],
    ids=["no split", "no annotation", "broken", "a TIFF", "wrong file", *WRONG_JSON],
)
def test_a_broken_tree_is_refused_and_nothing_is_written(tmp_path, spoil, message):
    root = write_cityscapes(tmp_path / "cityscapes", {"val": [STREET]})
    spoil(root)
    with pytest.raises(DataError, match=message):
        convert(root, tmp_path / "out", ["val"])
    assert [path.name for path in tmp_path.iterdir()] == ["cityscapes"]


def test_perfect_masks_score_one_in_both_metrics_where_all_objects_are_large(tmp_path):
    root, dataset = converted(tmp_path, [STREET[:10]])
    ids = id_map(STREET[:10])[0]
    found = [
        result(1, value // 1000, ids == value, 0.9)
        for value in np.unique(ids).tolist()
        if value >= 24000 and value // 1000 in dataset.category_ids
    ]
    metrics = score_cityscapes(dataset, found, [1], root)
    assert (metrics.ap, metrics.ap50) == (1.0, 1.0)
    assert metrics.per_class["bus"] == {"AP": None, "AP50": None}
    assert score(dataset, found, [1]).mask["AP"] == pytest.approx(1.0)
    assert score_cityscapes(dataset, [], [1], root).ap == 0.0


CARS = [("road", 0, 0, 128, 64), ("car", 0, 0, 20, 20), ("car", 40, 0, 60, 20)]


def of_cars(metrics: CityscapesMetrics) -> tuple[float | None, float | None]:
    return metrics.per_class["car"]["AP"], metrics.per_class["car"]["AP50"]


def test_average_precision_that_a_person_can_follow(tmp_path):
    """One of two cars found, then a wrong one: precisions 1/2 (score 0.3), 1 (0.8), 1 (the end); recalls 1/2, 1/2, 0.

    Half the distances of the neighbouring recalls: (1/2 - 1/2) / 2, (1/2 - 0) / 2, (1/2 - 0) / 2; so 0 + 1/4 + 1/4.
    """
    root, dataset = converted(tmp_path, [CARS])
    found = [result(1, CAR, rectangle(0, 0, 20, 20), 0.8), result(1, CAR, rectangle(80, 40, 100, 60), 0.3)]
    assert of_cars(score_cityscapes(dataset, found, [1], root)) == (0.5, 0.5)


def test_a_match_needs_more_than_the_threshold(tmp_path):
    """A mask of half the car has IoU 0.5: no match at 0.5, where COCO's metric counts one."""
    root, dataset = converted(tmp_path, [CARS[:2]])
    found = [result(1, CAR, rectangle(0, 0, 20, 10), 0.8)]
    assert of_cars(score_cityscapes(dataset, found, [1], root)) == (0.0, 0.0)
    assert score(dataset, found, [1]).mask["AP50"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("scene", "expected"),
    [
        ([*CARS[:2], ("cargroup", 70, 30, 100, 60)], 1.0),  # on a group: ignored
        ([*CARS[:2], ("out of roi", 70, 30, 100, 60)], 1.0),  # on void: ignored
        ([*CARS[:2], ("car", 72, 32, 81, 43)], 0.25),  # half on a car of 99 px, too small to count: not more than 0.5
        ([*CARS[:2], ("car", 72, 32, 82, 42)], 0.125),  # a car of 100 px counts, and is missed
        ([*CARS[:2], ("person", 70, 30, 100, 60)], 0.25),  # another class: wrong
    ],
)
def test_a_detection_without_a_match_is_ignored_on_what_is_not_counted(tmp_path, scene, expected):
    """The second detection, of 10 x 20 px and of the higher score, decides.

    Wrong: recalls 1 (score 0.8), 0 (0.9), 0 (the end), precisions 1/2, 0, 1: 1/2 * (1 - 0) / 2 = 1/4.
    """
    root, dataset = converted(tmp_path, [scene])
    found = [result(1, CAR, rectangle(72, 32, 82, 52), 0.9), result(1, CAR, rectangle(0, 0, 20, 20), 0.8)]
    assert of_cars(score_cityscapes(dataset, found, [1], root))[1] == pytest.approx(expected)


def random_scene(rng):
    kinds = ["car", "cargroup", "person", "persongroup", "caravan", "bus", "out of roi", "bicycle", "rider"]
    scene = [("road", 0, 0, 128, 64)]
    for _ in range(10):
        label = str(rng.choice([*kinds, "caravangroup"]))
        width, height = rng.integers(6, 40, 2)
        height = min(height, 30)
        x, y = int(rng.integers(0, 128 - width)), int(rng.integers(0, 64 - height))
        scene.append((label, x, y, int(x + width), int(y + height)))
    return scene


def random_results(dataset, ids, rng):
    """Shifted, cut, doubled and mislabelled copies of what is there."""
    found = []
    for image_id, id_image in ids.items():
        for value in np.unique(id_image).tolist():
            label = value // 1000 if value >= 1000 else value
            for _ in range(int(rng.integers(0, 3))):
                mask = np.roll(id_image == value, tuple(rng.integers(-2, 3, 2)), (0, 1))
                if rng.random() < 0.2:
                    mask[:, rng.integers(0, 128) :] = False
                keep = label in dataset.category_ids and rng.random() < 0.9
                category = label if keep else int(rng.choice(dataset.category_ids))
                found.append(result(image_id, category, mask, round(float(rng.random()), 2)))
    return sorted(found, key=lambda entry: -entry["score"])


@pytest.mark.parametrize(
    ("seed", "ap", "ap50"),
    [(0, 0.14924314574314573, 0.3748502886002886), (4, 0.2216182349396635, 0.41131420167134447)],
)
def test_the_protocol_gives_the_numbers_of_the_published_scripts(tmp_path, seed, ap, ap50):
    # computed once by cityscapesscripts 2.3.0 on the same masks
    rng = np.random.default_rng(seed)
    root, dataset = converted(tmp_path, [random_scene(rng) for _ in range(6)])
    frames = find_frames(root, "val")
    ids = {record.id: read_id_map(frame) for record, frame in zip(dataset, frames, strict=True)}
    metrics = score_cityscapes(dataset, random_results(dataset, ids, rng), dataset.image_ids, root)
    assert metrics.ap == pytest.approx(ap, abs=1e-12)
    assert metrics.ap50 == pytest.approx(ap50, abs=1e-12)
    assert len(THRESHOLDS) == 10


def test_evaluate_prints_both_metrics_for_a_cityscapes_model(tmp_path, capsys):
    root, _ = converted(tmp_path, [STREET, STREET])
    save_model(tmp_path / "model", tiny_model(dataclasses.replace(tiny_spec(), classes=CLASSES)))
    words = ("evaluate", str(tmp_path / "model"), "--data", str(tmp_path / "coco"), "--cityscapes", str(root))
    assert call(main, *words, "--json", str(tmp_path / "ap.json")) == 0
    assert "Cityscapes protocol" in capsys.readouterr().out
    content = json.loads((tmp_path / "ap.json").read_text())
    assert content["cityscapes"]["per_class"].keys() == set(CLASSES)
    assert content["mask"].keys() >= {"AP", "AP50"}


def test_another_data_set_is_refused(tmp_path):
    dataset = CocoDataset(write_shapes(tmp_path / "shapes", {"val": 1}), "val")
    with pytest.raises(ValueError, match="expected those of Cityscapes"):
        score_cityscapes(dataset, [], [1], tmp_path)
