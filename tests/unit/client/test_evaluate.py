"""Average precision of served answers on a hand-made data set, whose score can be told in advance."""

import json
from pathlib import Path

import numpy as np
import pytest
from maskline_client import Detector, InvalidImage, rle
from maskline_client.evaluate import evaluate, read_split, unknown_names
from unit.client.triton_double import CLASSES, SIZE, Server, file_with, mask_of


def write_data(root: Path, names: tuple[str, ...] = CLASSES, image_ids: tuple[int, ...] = (7, 3)) -> Path:
    """Images with 3 objects each, exactly where the scripted server finds them; category ids 10, 20, 30, reversed."""
    (root / "val").mkdir(parents=True)
    (root / "annotations").mkdir()
    ids = {name: 10 * (len(names) - i) for i, name in enumerate(names)}
    annotations = []
    for image_id in image_ids:
        (root / "val" / f"{image_id}.png").write_bytes(file_with(3))
        for row in range(3):
            counts = rle.from_mask(mask_of(row)).decode()
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": ids[names[row % len(names)]],
                    "bbox": [2 * row, row, 7, 5],
                    "area": 35,
                    "iscrowd": 0,
                    "segmentation": {"size": list(SIZE), "counts": counts},
                }
            )
    images = [{"id": i, "file_name": f"{i}.png", "height": SIZE[0], "width": SIZE[1]} for i in image_ids]
    categories = [{"id": i, "name": name} for name, i in ids.items()]
    data = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations" / "instances_val.json").write_text(json.dumps(data))
    return root


def test_a_perfect_answer_scores_one_whatever_the_category_ids(server: Server, tmp_path: Path) -> None:
    split = read_split(write_data(tmp_path), "val")
    seen = []
    with Detector(server.url) as detector:
        scores, results = evaluate(detector, split, in_flight=2, advance=lambda: seen.append(1))
    assert split.image_ids == (3, 7)
    assert len(seen) == scores.num_images == 2
    assert len(results) == scores.num_detections == 6
    for values in (scores.box, scores.mask):
        assert values["AP"] == values["AP50"] == values["APs"] == pytest.approx(1)
        assert values["APm"] is None  # no medium object in the data
        assert values["APl"] is None


def test_a_wrong_class_costs_its_ap(server: Server, tmp_path: Path) -> None:
    server.script.labels = json.dumps(["circle", "square", "spider"])
    split = read_split(write_data(tmp_path), "val")
    with Detector(server.url) as detector:
        assert unknown_names(split, detector.classes) == ["star"]
        scores, _ = evaluate(detector, split)
    assert scores.mask["AP"] == pytest.approx(2 / 3)


def test_misplaced_masks_lower_the_mask_ap_alone(server: Server, tmp_path: Path) -> None:
    root = write_data(tmp_path)
    path = root / "annotations" / "instances_val.json"
    data = json.loads(path.read_text())
    for annotation in data["annotations"]:
        moved = np.roll(rle.to_mask(annotation["segmentation"]["counts"].encode(), SIZE), 10, axis=1)
        annotation["segmentation"]["counts"] = rle.from_mask(moved).decode()
    path.write_text(json.dumps(data))
    with Detector(server.url) as detector:
        scores, _ = evaluate(detector, read_split(root, "val"))
    assert scores.box["AP"] == pytest.approx(1)
    assert scores.mask["AP"] == 0


def test_nothing_found_scores_zero(server: Server, tmp_path: Path) -> None:
    root = write_data(tmp_path, image_ids=(3,))
    (root / "val" / "3.png").write_bytes(file_with(0))
    with Detector(server.url) as detector:
        scores, results = evaluate(detector, read_split(root, "val"))
    assert results == []
    for values in (scores.box, scores.mask):
        assert values["AP"] == values["APs"] == 0
        assert values["APm"] is None  # no medium object in the data


def test_only_the_first_images_count_when_asked(server: Server, tmp_path: Path) -> None:
    root = write_data(tmp_path)
    with Detector(server.url) as detector:
        scores, _ = evaluate(detector, read_split(root, "val", max_images=1))
    assert scores.num_images == 1
    assert scores.box["AP"] == pytest.approx(1)


def test_a_refused_image_voids_the_evaluation_and_is_named(server: Server, tmp_path: Path) -> None:
    root = write_data(tmp_path)
    (root / "val" / "7.png").write_bytes(b"text")
    with Detector(server.url) as detector, pytest.raises(InvalidImage, match=r"image 7\.png"):
        evaluate(detector, read_split(root, "val"))


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda root: (root / "annotations" / "instances_val.json").unlink(), "expected COCO annotations there"),
        (lambda root: (root / "annotations" / "instances_val.json").write_text("{"), "not COCO annotations"),
        (lambda root: (root / "annotations" / "instances_val.json").write_text("[]"), "not COCO annotations"),
        (lambda root: (root / "val" / "3.png").unlink(), r"got no file .*3\.png \(1 of 2 files missing\)"),
    ],
)
def test_data_that_cannot_be_scored_is_refused_before_anything_is_sent(tmp_path: Path, damage, text: str) -> None:
    damage(write_data(tmp_path))
    with pytest.raises(ValueError, match=text):
        read_split(tmp_path, "val")


def test_data_of_other_classes_altogether_is_refused(tmp_path: Path) -> None:
    split = read_split(write_data(tmp_path, names=("cat", "dog", "cow")), "val")
    with pytest.raises(ValueError, match="this server serves a model for other data"):
        unknown_names(split, CLASSES)
