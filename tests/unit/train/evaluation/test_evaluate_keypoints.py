"""OKS AP: the truth scores one, known distances score what the formula says, pictures show the points."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from maskline_show.picture import colour_of, draw
from maskline_train.data.coco import CocoDataset
from maskline_train.data.errors import DataError
from maskline_train.distributed import Processes
from maskline_train.evaluation import drawn
from maskline_train.evaluation.evaluate import Metrics, evaluate, score, to_results
from maskline_train.model.mask_rcnn import Detections, MaskRCNN
from maskline_train.spec import KeypointHeadSpec
from PIL import Image
from support.data import coco_files
from support.models.tiny import tiny_spec

NAMES = ("head", "left hand", "right hand")
SIGMA = 0.08
HEAD = KeypointHeadSpec(names=NAMES, sigmas=(SIGMA,) * 3, pooled_side=4, num_convs=1, channels=4)
SIDE = 64  # of the persons, px: area 64 * 64, "medium" in COCO's words
POINTS = [[10, 4, 2], [2, 40, 2], [60, 40, 1]]  # from the corner of each person
SIZE = (96, 192)
ALONE = Processes(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> CocoDataset:
    """Two images: two persons; one person of which the third keypoint is not labelled, and one without any."""
    root = tmp_path_factory.mktemp("keypoints")
    (root / "annotations").mkdir()
    (root / "val").mkdir()
    for key in (1, 2):
        Image.new("RGB", (SIZE[1], SIZE[0]), (90, 90, 90)).save(root / "val" / f"{key}.png")
    corners = [(1, 8, 10), (1, 100, 20), (2, 20, 20), (2, 110, 10)]
    annotations = []
    for key, (image, x, y) in enumerate(corners, start=1):
        keypoints = [value for px, py, v in POINTS for value in (x + px, y + py, v)]
        if key == 3:
            keypoints[6:] = [0, 0, 0]
        annotations.append(
            {
                "id": key,
                "image_id": image,
                "category_id": 1,
                "bbox": [x, y, SIDE, SIDE],
                "area": SIDE * SIDE,
                "segmentation": coco_files.square(x, y, SIDE),
                "keypoints": keypoints if key != 4 else [0] * 9,
            }
        )
    content = {
        "categories": [{"id": 1, "name": "person", "keypoints": list(NAMES)}],
        "images": [{"id": k, "file_name": f"{k}.png", "height": SIZE[0], "width": SIZE[1]} for k in (1, 2)],
        "annotations": annotations,
    }
    (root / "annotations" / "person_keypoints_val.json").write_text(json.dumps(content))
    return CocoDataset(root, "val", annotations="person_keypoints")


def truth_as_results(dataset: CocoDataset, move_px: float = 0.0) -> list[dict]:
    """The annotations as if they had been found, each keypoint `move_px` to the right."""
    return [
        {
            "image_id": record.id,
            "category_id": 1,
            "bbox": list(a.bbox_xywh),
            "score": 0.9 - 0.1 * a.id,
            "keypoints": (np.array(a.keypoints) + np.tile([move_px, 0, 0], 3)).tolist(),
        }
        for record in dataset
        for a in record.annotations
    ]


def keypoint_metrics(dataset: CocoDataset, results: list[dict], head: KeypointHeadSpec = HEAD) -> Metrics:
    return score(dataset, results, dataset.image_ids, masks=False, keypoint_head=head)


def test_the_truth_itself_scores_one(dataset: CocoDataset, capfd: pytest.CaptureFixture[str]) -> None:
    results = truth_as_results(dataset)
    metrics = keypoint_metrics(dataset, results)
    assert metrics.keypoint == {"AP": pytest.approx(1), "AP50": 1.0, "AP75": 1.0, "APm": pytest.approx(1), "APl": None}
    assert metrics.mask is None
    assert metrics.per_class == {"person": {"box": pytest.approx(1), "keypoint": pytest.approx(1)}}
    assert "keypoint AP 100.0" in metrics.summary()
    assert metrics.scalars()["keypoint_AP75"] == pytest.approx(1)
    assert metrics.main_ap == pytest.approx(1)
    assert capfd.readouterr().out == ""  # pycocotools says nothing
    json.dumps(metrics.to_dict())
    assert metrics.results == truth_as_results(dataset)  # pycocotools adds keys to what it is given


@pytest.mark.parametrize("wanted_oks", [0.97, 0.83, 0.72, 0.52, 0.3])
def test_moved_points_score_what_the_formula_says(dataset: CocoDataset, wanted_oks: float) -> None:
    """OKS = exp(-d^2 / (2 area (2 sigma)^2)) for each keypoint; a hit at each threshold 0.5, 0.55, ... up to it."""
    distance = math.sqrt(-math.log(wanted_oks) * 2 * SIDE**2 * (2 * SIGMA) ** 2)
    metrics = keypoint_metrics(dataset, truth_as_results(dataset, distance))
    hits = sum(0.5 + 0.05 * i <= wanted_oks for i in range(10))
    assert metrics.keypoint is not None
    assert metrics.keypoint["AP"] == pytest.approx(hits / 10)
    assert metrics.box["AP"] == pytest.approx(1)


def test_sigmas_are_those_of_the_spec_and_a_twentieth_without(dataset: CocoDataset) -> None:
    distance = 0.05 * 2 * SIDE * math.sqrt(-2 * math.log(0.72))  # OKS 0.72 with sigma 0.05: hits at 5 thresholds
    results = truth_as_results(dataset, distance)
    for sigmas, hits in (((), 5), ((0.05,) * 3, 5), ((0.5,) * 3, 10), ((0.005,) * 3, 0)):
        metrics = keypoint_metrics(dataset, results, dataclasses.replace(HEAD, sigmas=sigmas))
        assert metrics.keypoint is not None
        assert metrics.keypoint["AP"] == pytest.approx(hits / 10)


def test_keypoints_that_are_not_labelled_are_ignored(dataset: CocoDataset) -> None:
    """The third keypoint of person 3 may lie anywhere, and finding person 4 or not finding them changes nothing."""
    results = truth_as_results(dataset)
    results[2]["keypoints"][6:8] = [190, 95]
    for found in (results, results[:3]):
        metrics = keypoint_metrics(dataset, found)
        assert metrics.keypoint is not None
        assert metrics.keypoint["AP"] == pytest.approx(1)
    results[2]["keypoints"][0:2] = [190, 95]  # this one is labelled: OKS of person 3 falls to one half
    metrics = keypoint_metrics(dataset, results)
    assert metrics.keypoint is not None
    assert metrics.keypoint["AP75"] == pytest.approx(2 / 3, abs=0.01)


def test_nothing_found_scores_zero(dataset: CocoDataset) -> None:
    metrics = keypoint_metrics(dataset, [])
    assert metrics.keypoint is not None
    assert metrics.keypoint["AP"] == 0.0
    assert metrics.main_ap == 0.0


def detections_of(keypoints: list, num: int) -> Detections:
    points = torch.zeros(1, 2, 3, 3)
    points[0, 0] = torch.tensor(keypoints)
    boxes, labels = torch.tensor([[[5.0, 2, 25, 12], [0, 0, 0, 0]]]), torch.tensor([[0, -1]])
    return Detections(boxes, torch.tensor([[0.9, 0]]), labels, torch.tensor([num]), None, points)


def test_results_are_pixel_indices_of_the_original_image() -> None:
    """An image of 40 x 100 px shown at half its height and a quarter of its width."""
    info = np.array([[20, 25, 0.5, 0.25, 40, 100]], np.float32)
    ((found,),) = to_results(detections_of([[5, 2, 0.5], [24, 11, 0.25], [10, 4, 1]], 1), info, (7,), (1,), "aligned")
    assert found["keypoints"] == [19.5, 3.5, 0.5, 95.5, 21.5, 0.25, 39.5, 7.5, 1.0]
    assert "segmentation" not in found
    (nothing,) = to_results(detections_of([[0, 0, 0]] * 3, 0), info, (7,), (1,), "aligned")
    assert nothing == []


def test_a_model_is_evaluated_on_its_keypoints(dataset: CocoDataset) -> None:
    torch.manual_seed(0)
    spec = dataclasses.replace(tiny_spec(), classes=("person",), mask_head=None, keypoint_head=HEAD)
    model = MaskRCNN(spec)
    model.box_head.class_logits.bias.data[0] = 2.0  # finds something everywhere
    metrics = evaluate(model, dataset, ALONE)
    assert metrics.results
    assert all(len(result["keypoints"]) == 9 for result in metrics.results)
    assert metrics.mask is None
    assert metrics.keypoint is not None
    assert metrics.keypoint["AP"] is not None
    other = dataclasses.replace(spec, keypoint_head=dataclasses.replace(HEAD, names=("a", "b", "c")))
    with pytest.raises(DataError, match="expected the model's keypoints a, b, c"):
        evaluate(MaskRCNN(other), dataset, ALONE)


def test_results_and_truth_are_drawn_with_a_dot_where_each_keypoint_is(dataset: CocoDataset) -> None:
    truth = drawn.known(dataset, 0)
    results = drawn.found(truth_as_results(dataset)[:1], SIZE, ["person"], (1,), dataset.keypoint_names)
    assert truth.keypoints is not None
    assert np.allclose(results.keypoints[0, :, :2], truth.keypoints[0, :, :2])  # a file has pixel indices
    points = np.array([[[20.5, 30.5, 2], [60.5, 50.5, 1], [5.5, 55.5, 0], [90.5, 80.5, 0]]], np.float32)
    one = dataclasses.replace(results, boxes=np.array([[10, 20, 80, 70]], np.float32), rle=None, keypoints=points)
    picture = np.asarray(draw(Image.new("RGB", (SIZE[1], SIZE[0]), (200, 200, 200)), one))
    assert tuple(picture[30, 20]) == colour_of(0)
    assert tuple(picture[50, 60]) == colour_of(1)
    assert tuple(picture[55, 5]) == tuple(picture[80, 90]) == (200, 200, 200)  # not labelled
