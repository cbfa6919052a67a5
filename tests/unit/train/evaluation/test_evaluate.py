"""Average precision: perfect, wrong and no answers, and what happens between the network and COCO results."""

import json

import numpy as np
import pytest
import torch
from maskline_train.data.coco import CocoDataset
from maskline_train.distributed import Processes
from maskline_train.evaluation.evaluate import boxes_at_original_size, evaluate, percent, score, to_results
from maskline_train.model.mask_rcnn import Detections
from maskline_train.spec import PasteRule
from pycocotools import mask as coco_mask
from reference import paste_mask
from support.data.shapes_data import CLASSES, SIZE, write_shapes
from support.models.tiny import tiny_model

ALONE = Processes(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> CocoDataset:
    return CocoDataset(write_shapes(tmp_path_factory.mktemp("eval") / "shapes", {"val": 6}), "val")


def truth_as_results(dataset: CocoDataset) -> list[dict]:
    """The annotations themselves, as if they had been found."""
    results = []
    for record in dataset:
        for annotation in record.annotations:
            polygons = coco_mask.frPyObjects(annotation.segmentation, record.height, record.width)
            rle = coco_mask.merge(polygons)
            results.append(
                {
                    "image_id": record.id,
                    "category_id": dataset.category_ids[annotation.label],
                    "bbox": list(annotation.bbox_xywh),
                    "score": 0.9,
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                }
            )
    return results


def test_the_truth_itself_scores_one(dataset: CocoDataset, capfd: pytest.CaptureFixture[str]) -> None:
    metrics = score(dataset, truth_as_results(dataset), dataset.image_ids)
    for values in (metrics.box, metrics.mask):
        assert values["AP"] == values["AP50"] == values["AP75"] == pytest.approx(1.0)
        assert values["APl"] is None  # no rectangle reaches 96 x 96 px
    assert metrics.per_class["square"] == {"box": pytest.approx(1.0), "mask": pytest.approx(1.0)}
    assert capfd.readouterr().out == ""  # pycocotools says nothing
    assert "mask AP 100.0" in metrics.summary()
    assert metrics.scalars()["mask_AP50"] == pytest.approx(1.0)
    json.dumps(metrics.to_dict())
    assert metrics.results == truth_as_results(dataset)  # pycocotools adds keys to what it is given


def test_boxes_that_are_off_lose_where_the_iou_is_strict(dataset: CocoDataset) -> None:
    """Every box is 1.5 times as wide as its object: IoU 2/3, a hit at 0.5, 0.55, 0.6 and 0.65: AP 4 / 10."""
    results = truth_as_results(dataset)
    for result in results:
        result["bbox"][2] *= 1.5
    metrics = score(dataset, results, dataset.image_ids)
    assert metrics.box["AP50"] == pytest.approx(1.0)
    assert metrics.box["AP75"] == 0.0
    assert metrics.box["AP"] == pytest.approx(0.4)
    assert metrics.mask["AP"] == pytest.approx(1.0)


def test_the_size_of_a_wrong_mask_is_its_own_and_not_its_boxes(dataset: CocoDataset) -> None:
    """A guess of 10 x 10 px in a box of 40 x 40 px is wrong among the small masks and among the medium boxes."""
    mask = np.zeros((*SIZE, 1), np.uint8, order="F")
    mask[5:15, 5:15] = 1
    rle = coco_mask.encode(mask)[0]
    segmentation = {"size": rle["size"], "counts": rle["counts"].decode()}
    guess = {"bbox": [0.0, 0.0, 40.0, 40.0], "score": 0.99, "segmentation": segmentation}
    guesses = [
        {"image_id": image, "category_id": category, **guess}
        for image in dataset.image_ids
        for category in dataset.category_ids
    ]
    metrics = score(dataset, [*guesses, *truth_as_results(dataset)], dataset.image_ids)
    assert metrics.mask["APs"] < 0.9
    assert metrics.mask["APm"] == pytest.approx(1.0)
    assert metrics.box["APs"] == pytest.approx(1.0)
    assert metrics.box["APm"] < 0.9


def test_wrong_classes_and_no_answers_score_zero(dataset: CocoDataset) -> None:
    wrong = [{**result, "category_id": result["category_id"] % 3 + 1} for result in truth_as_results(dataset)]
    for results in (wrong, []):
        metrics = score(dataset, results, dataset.image_ids)
        assert metrics.box["AP"] == metrics.mask["AP50"] == pytest.approx(0.0, abs=0.1)
    assert score(dataset, [], dataset.image_ids).mask["AP"] == 0.0


@pytest.mark.parametrize("rule", ["aligned", "detectron"])
def test_detections_become_results_at_the_original_size(rule: PasteRule) -> None:
    """An image of 40 x 100 px shown at half its size: the boxes double, the mask is pasted as the oracle does."""
    info = np.array([[20, 50, 0.5, 0.5, 40, 100], [20, 50, 0.5, 0.5, 40, 100]], np.float32)
    boxes = torch.zeros(2, 3, 4)
    boxes[0, 0] = torch.tensor([5.0, 2.0, 25.0, 12.0])
    boxes[0, 1] = torch.tensor([40.0, 10.0, 50.5, 20.0])  # leaves the image by half a pixel
    masks = torch.rand(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    scores = torch.tensor([[0.9, 0.5, 0.0], [0.0, 0.0, 0.0]])
    labels = torch.tensor([[2, 0, -1], [-1, -1, -1]])
    detections = Detections(boxes, scores, labels, torch.tensor([2, 0]), masks)
    found, nothing = to_results(detections, info, (7, 8), (11, 12, 13), rule)
    assert nothing == []
    assert [(entry["image_id"], entry["category_id"]) for entry in found] == [(7, 13), (7, 11)]
    assert found[0]["bbox"] == [10.0, 4.0, 40.0, 20.0]
    assert found[1]["bbox"] == [80.0, 20.0, 20.0, 20.0]
    assert found[0]["score"] == pytest.approx(0.9)
    ours = coco_mask.decode({**found[0]["segmentation"], "counts": found[0]["segmentation"]["counts"].encode()})
    theirs = paste_mask(masks[0, 0].numpy(), (10.0, 4.0, 50.0, 24.0), (40, 100), rule)
    assert found[0]["segmentation"]["size"] == [40, 100]
    assert ours.any()
    assert np.array_equal(ours.astype(bool), theirs)


def test_boxes_are_clipped_to_the_original_image() -> None:
    info = np.array([64, 96, 0.5, 0.75, 128, 128], np.float32)
    boxes = np.array([[-3, -3, 30, 32], [75, 60, 99, 70]], np.float32)
    assert boxes_at_original_size(boxes, info).tolist() == [[0, 0, 40, 64], [100, 120, 128, 128]]
    assert boxes_at_original_size(boxes[:0], info).shape == (0, 4)


def test_evaluating_a_model_leaves_it_as_it_was_and_keeps_to_the_images_asked_for(dataset: CocoDataset) -> None:
    model = tiny_model().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    metrics = evaluate(model, dataset, ALONE, batch=4, max_images=3)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert metrics.num_images == 3
    assert {result["image_id"] for result in metrics.results} <= set(dataset.image_ids[:3])
    assert metrics.results  # random weights that nevertheless find something
    everything = evaluate(model, dataset, ALONE, batch=1)
    assert everything.num_images == 6
    same = [result for result in everything.results if result["image_id"] in dataset.image_ids[:3]]
    assert len(same) == len(metrics.results)  # a batch of one finds what a batch of four does


def test_a_data_set_of_other_classes_is_refused(dataset: CocoDataset) -> None:
    other = tiny_model(tiny_model().spec.from_dict({**tiny_model().spec.to_dict(), "classes": ["cat", "dog"]}))
    with pytest.raises(ValueError, match=f"got classes {', '.join(CLASSES)}, expected the model's cat, dog"):
        evaluate(other, dataset, ALONE)


def test_percent() -> None:
    assert (percent(0.123), percent(None), percent(1.0)) == ("12.3", "-", "100.0")
