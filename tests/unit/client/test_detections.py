"""Detections: rows, masks, filters, COCO results."""

import dataclasses
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


def with_keypoints(count: int = 3) -> Detections:
    """Boxes and two keypoints of each object: its box's corners."""
    found = detections(count)
    corners = found.boxes.reshape(count, 2, 2)
    scores = np.full((count, 2, 1), 0.25, np.float32)
    points = np.concatenate([corners, scores], axis=2)
    return dataclasses.replace(found, rle=None, keypoints=points, keypoint_names=("first", "last"))


def test_keypoints_go_with_their_objects() -> None:
    found = with_keypoints()
    np.testing.assert_array_equal(found[1].keypoints, [[1, 1, 0.25], [3.5, 5, 0.25]])
    assert found[1].keypoint_names == ("first", "last")
    kept = found.filter(names={"c", "b"})
    np.testing.assert_array_equal(kept.keypoints, found.keypoints[1:])
    assert kept.keypoint_names == ("first", "last")
    assert found.filter(min_score=2).keypoints.shape == (0, 2, 3)


def test_coco_results_have_keypoints_as_pixel_indices() -> None:
    """A point in the middle of the first pixel is 0.5 here and 0 in COCO's files."""
    results = with_keypoints().to_coco_results(1)
    assert json.loads(json.dumps(results)) == results
    assert results[1]["keypoints"] == [0.5, 0.5, 0.25, 3.0, 4.5, 0.25]
    assert all("segmentation" not in result for result in results)
    assert all("keypoints" not in result for result in detections().to_coco_results(1))
    assert detections()[0].coco_keypoints() is None


def test_no_object_with_keypoints_is_an_empty_answer_too() -> None:
    found = with_keypoints(0)
    assert (list(found), found.to_coco_results(1)) == ([], [])
    assert found.keypoints.shape == (0, 2, 3)


@pytest.mark.parametrize(
    "ask",
    [lambda f: f.masks(), lambda f: f.mask(0), lambda f: f[0].mask(), lambda f: f[0].area()],
    ids=["all", "one", "row", "area"],
)
def test_masks_of_a_model_for_boxes_alone_are_refused_in_words(ask) -> None:
    with pytest.raises(ValueError, match="got objects of a model for boxes alone, expected masks"):
        ask(with_keypoints())


def test_masks_are_refused_where_nothing_was_found_too() -> None:
    with pytest.raises(ValueError, match="expected masks"):
        with_keypoints(0).masks()


@pytest.mark.parametrize("shape", [(2, 2, 3), (3, 1, 3), (3, 2, 2), (3, 6)])
def test_keypoints_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(3, 2, 3\): an object a row, a name each"):
        dataclasses.replace(with_keypoints(), keypoints=np.zeros(shape, np.float32))


def test_printing_is_one_line_whatever_was_found() -> None:
    found = detections()
    assert str(found) == "Detections(3 objects with masks: 1 a, 1 b, 1 c, best score 0.90; image 8x6)"
    assert str(detections(0)) == "Detections(0 objects with masks; image 8x6)"
    assert repr(found[1]) == "Detection(b 0.70, box 1.0 1.0 3.5 5.0)"
