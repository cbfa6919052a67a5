"""Average precision of served answers on a hand-made data set, whose score can be told in advance."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from maskline_client import Detector, rle
from maskline_client.commands.evaluate import (
    Answers,
    DataSplit,
    Evaluation,
    check_keypoints,
    collect,
    oks_sigmas,
    read_split,
    score,
    unknown_names,
)
from maskline_client.served_model import KeypointNames
from maskline_train.evaluation.evaluate import DEFAULT_SIGMA
from PIL import Image
from unit.client.triton_double import (
    BOXES_ALONE,
    CLASSES,
    KEYPOINTS,
    POINTS,
    SIZE,
    WITH_KEYPOINTS,
    Server,
    mask_of,
    points_of,
)


def picture(objects: int, size: tuple[int, int] = SIZE) -> bytes:
    """A real picture, behind whose end a byte says how many objects the scripted server finds."""
    out = io.BytesIO()
    Image.new("RGB", size[::-1]).save(out, "PNG")
    return out.getvalue() + bytes([objects])


def evaluate(
    detector: Detector, split: DataSplit, in_flight: int = 1, advance: Callable[[], None] = lambda: None
) -> tuple[Evaluation, list[dict]]:
    answers = Answers()
    collect(detector, detector.model, split, answers, in_flight, advance)
    model = detector.model
    return score(split, answers.results, masks=model.has_masks, keypoints=model.keypoints), answers.results


def write_data(root: Path, names: tuple[str, ...] = CLASSES, image_ids: tuple[int, ...] = (7, 3)) -> Path:
    """Images with 3 objects each, exactly where the scripted server finds them; category ids 10, 20, 30, reversed."""
    (root / "val").mkdir(parents=True)
    (root / "annotations").mkdir()
    ids = {name: 10 * (len(names) - i) for i, name in enumerate(names)}
    annotations = []
    for image_id in image_ids:
        (root / "val" / f"{image_id}.png").write_bytes(picture(3))
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
    (root / "val" / "3.png").write_bytes(picture(0))
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


def turn(path: Path) -> None:
    """A camera held upright: the stored picture is as the json says, what a viewer and the server see is not."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", SIZE[::-1]).save(path, exif=exif)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (
            lambda root: (root / "annotations" / "instances_val.json").unlink(),
            "no such file; expected ROOT/annotations",
        ),
        (lambda root: (root / "annotations" / "instances_val.json").write_text("{"), "not a whole JSON file"),
        (lambda root: (root / "annotations" / "instances_val.json").write_text("[]"), "expected an object with images"),
        (lambda root: (root / "val" / "3.png").unlink(), r"3\.png: no such image \(id 3\); 1 of 2 images are missing"),
        (lambda root: (root / "val" / "3.png").write_bytes(b"text"), r"3\.png: not a JPEG, PNG, WEBP file"),
        (
            lambda root: (root / "val" / "3.png").write_bytes(picture(3, (30, 20))),
            r"3\.png: got 20x30 .*expected 30x20",
        ),
        (lambda root: turn(root / "val" / "3.png"), r"3\.png: got 20x30 .*EXIF orientation applied.*expected 30x20"),
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


def write_keypoint_data(root: Path, shift_px: float = 0.0) -> Path:
    """The same images and objects with their keypoints, each that far right of where the server finds it."""
    path = write_data(root) / "annotations" / "instances_val.json"
    data = json.loads(path.read_text())
    for category in data["categories"]:
        category.update(keypoints=list(POINTS), skeleton=[])
    for annotation in data["annotations"]:
        points = points_of(round(annotation["bbox"][1])) + np.array(
            [shift_px - 0.5, -0.5, 0]
        )  # COCO's are pixel indices
        points[:, 2] = 2
        annotation.update(keypoints=points.ravel().tolist(), num_keypoints=3)
    (root / "annotations" / "person_keypoints_val.json").write_text(json.dumps(data))
    return root


def keypoint_ap(server: Server, root: Path) -> dict[str, float | None]:
    server.script.outputs = WITH_KEYPOINTS
    split = read_split(root, "val", annotations="person_keypoints")
    with Detector(server.url) as detector:
        check_keypoints(split, detector.model)
        scores, _ = evaluate(detector, split)
    assert scores.keypoint is not None
    assert scores.mask is None
    assert scores.box["AP"] == pytest.approx(1)
    return scores.keypoint


def test_keypoints_in_their_places_score_one(server: Server, tmp_path: Path) -> None:
    values = keypoint_ap(server, write_keypoint_data(tmp_path))
    assert list(values) == ["AP", "AP50", "AP75", "APm", "APl"]
    assert values["AP"] == values["AP50"] == values["AP75"] == pytest.approx(1)
    assert values["APm"] is values["APl"] is None  # no object of that size in the data


@pytest.mark.parametrize(
    ("sigmas", "ap", "ap75"),
    [
        ([], 0.5, 0.0),  # OKS exp(-d^2 / (8 sigma^2 area)) = 0.723, which reaches the thresholds 0.50 to 0.70
        ([0.1, 0.1, 0.1], 0.9, 1.0),  # 0.922: 0.50 to 0.90
    ],
    ids=["train's", "model's"],
)
def test_keypoints_beside_their_places_score_by_their_sigmas(
    server: Server, tmp_path: Path, sigmas: list[float], ap: float, ap75: float
) -> None:
    """0.4766 px beside, in objects of 35 px: half a pixel more or less would be 0.26 or 0.999."""
    server.script.keypoints = json.dumps({**KEYPOINTS, "sigmas": sigmas})
    values = keypoint_ap(server, write_keypoint_data(tmp_path, shift_px=0.4766))
    assert values["AP"] == pytest.approx(ap)
    assert values["AP75"] == pytest.approx(ap75)


def test_objects_without_labelled_keypoints_do_not_count(server: Server, tmp_path: Path) -> None:
    path = write_keypoint_data(tmp_path) / "annotations" / "person_keypoints_val.json"
    data = json.loads(path.read_text())
    del data["annotations"][0]["keypoints"], data["annotations"][0]["num_keypoints"]
    data["annotations"][1].update(keypoints=[0] * 9)
    path.write_text(json.dumps(data))
    assert keypoint_ap(server, tmp_path)["AP"] == pytest.approx(1)


def test_no_keypoints_found_score_zero(server: Server, tmp_path: Path) -> None:
    root = write_keypoint_data(tmp_path)
    for path in (root / "val").iterdir():
        path.write_bytes(picture(0))
    server.script.outputs = WITH_KEYPOINTS
    with Detector(server.url) as detector:
        scores, _ = evaluate(detector, read_split(root, "val", annotations="person_keypoints"))
    assert scores.keypoint is not None
    assert scores.keypoint["AP"] == scores.box["AP"] == 0


def test_boxes_alone_have_one_score(server: Server, tmp_path: Path) -> None:
    server.script.outputs = BOXES_ALONE
    with Detector(server.url) as detector:
        scores, results = evaluate(detector, read_split(write_data(tmp_path), "val"))
    assert scores.box["AP"] == pytest.approx(1)
    assert (scores.mask, scores.keypoint) == (None, None)
    assert set(results[0]) == {"image_id", "category_id", "bbox", "score"}


def test_keypoints_of_other_names_or_none_cannot_be_scored(server: Server, tmp_path: Path) -> None:
    root = write_keypoint_data(tmp_path)
    server.script.outputs = WITH_KEYPOINTS
    with Detector(server.url) as detector:
        with pytest.raises(
            ValueError, match=r"keypoints none, expected those of the model: top, .*--annotations perso"
        ):
            check_keypoints(read_split(root, "val"), detector.model)
        path = root / "annotations" / "person_keypoints_val.json"
        path.write_text(path.read_text().replace("left end", "left hand"))
        with pytest.raises(ValueError, match="got the keypoints top, left hand"):
            check_keypoints(read_split(root, "val", annotations="person_keypoints"), detector.model)


def test_categories_of_different_keypoints_are_refused(tmp_path: Path) -> None:
    path = write_keypoint_data(tmp_path) / "annotations" / "person_keypoints_val.json"
    data = json.loads(path.read_text())
    data["categories"][1]["keypoints"] = ["a"]
    path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match="expected those of the other categories"):
        read_split(tmp_path, "val", annotations="person_keypoints")


def test_an_annotation_with_too_few_keypoints_is_named(tmp_path: Path) -> None:
    path = write_keypoint_data(tmp_path) / "annotations" / "person_keypoints_val.json"
    data = json.loads(path.read_text())
    annotation = next(item for item in data["annotations"] if item.get("keypoints"))
    for wrong, text in (([1.0, 2.0], r"keypoints \[1.0, 2.0\]"), ("nose", "keypoints 'nose'")):
        annotation["keypoints"] = wrong
        path.write_text(json.dumps(data))
        with pytest.raises(ValueError, match=rf"\(id {annotation['id']}\): got {text}, expected 9 numbers"):
            read_split(tmp_path, "val", annotations="person_keypoints")


def test_sigmas_are_the_models_else_those_of_training() -> None:
    assert oks_sigmas(KeypointNames(("a", "b"), sigmas=(0.1, 0.3))) == (0.1, 0.3)
    assert oks_sigmas(KeypointNames(("a", "b"))) == (DEFAULT_SIGMA,) * 2
