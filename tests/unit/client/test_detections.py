"""Detections: rows, masks, filters, COCO results."""

import json

import numpy as np
import pytest
from maskline_client import Detections, rle
from pycocotools import mask as coco

SIZE = (6, 8)


def detections(count: int = 3) -> Detections:
    masks = [np.eye(*SIZE, k=i, dtype=bool) for i in range(count)]
    return Detections(
        boxes=np.array([[i, i, i + 2.5, i + 4] for i in range(count)], np.float32).reshape(-1, 4),
        scores=np.linspace(0.9, 0.5, count).astype(np.float32),
        labels=np.arange(count, dtype=np.int32),
        names=tuple("abc"[:count]),
        rle=tuple(rle.from_mask(mask) for mask in masks),
        image_size=SIZE,
    )


def test_length_iteration_and_rows_agree() -> None:
    found = detections()
    assert len(found) == 3
    assert [row.name for row in found] == ["a", "b", "c"]
    assert found[1].score == pytest.approx(0.7)
    assert found[1].label == 1
    assert found[2].area() == 6
    np.testing.assert_array_equal(found[1].mask(), np.eye(*SIZE, k=1, dtype=bool))


def test_masks_are_bool_in_the_image_size() -> None:
    masks = detections().masks()
    assert masks.shape == (3, *SIZE)
    assert masks.dtype == np.bool_
    np.testing.assert_array_equal(masks[2], np.eye(*SIZE, k=2, dtype=bool))


def test_no_object_is_an_empty_answer_everywhere() -> None:
    found = detections(0)
    assert len(found) == 0
    assert list(found) == []
    assert found.masks().shape == (0, *SIZE)
    assert found.to_coco_results(1) == []
    assert len(found.filter(min_score=0.5)) == 0


def test_filters_keep_the_order_and_the_bound_itself() -> None:
    found = detections()
    assert found.filter(min_score=float(found.scores[1])).names == ("a", "b")
    assert found.filter(names={"c", "a"}).names == ("a", "c")
    assert found.filter(min_score=0.6, names={"c"}).names == ()
    np.testing.assert_array_equal(found.filter(names={"b"}).mask(0), found.mask(1))


def test_coco_results_carry_xywh_and_a_mask_that_pycocotools_reads() -> None:
    results = detections().to_coco_results(7, {"b": 44, "a": 3})
    assert json.loads(json.dumps(results)) == results
    assert [(r["image_id"], r["category_id"]) for r in results] == [(7, 3), (7, 44)]  # "c" has no category
    assert results[1]["bbox"] == [1.0, 1.0, 2.5, 4.0]
    np.testing.assert_array_equal(coco.decode(results[1]["segmentation"]), np.eye(*SIZE, k=1))


def test_category_ids_default_to_label_plus_one() -> None:
    assert [r["category_id"] for r in detections().to_coco_results(1)] == [1, 2, 3]


def test_rows_that_do_not_fit_together_are_refused() -> None:
    found = detections()
    with pytest.raises(ValueError, match="expected one row an object"):
        Detections(found.boxes, found.scores[:2], found.labels, found.names, found.rle, SIZE)
