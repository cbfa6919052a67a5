"""What counts as found by both, and what the table says of the pairs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from maskline_train.convert.check.answers import Answer
from maskline_train.convert.check.compare import Comparison
from pycocotools import mask as coco_mask


def answer(labels: list[int], scores: list[float], shift_px: float = 0.0, area: int = 10) -> Answer:
    """Boxes of 40 x 40 px in a row, each with a mask of so many columns and two keypoints."""
    boxes = np.array([[100 * i, 0, 100 * i + 40, 40] for i in range(len(labels))], np.float32) + np.float32(shift_px)
    mask = np.zeros((50, 50), np.uint8, order="F")
    mask[:, :area] = 1
    points = np.zeros((len(labels), 2, 2), np.float32) + np.float32(shift_px)
    masks = [coco_mask.encode(mask)] * len(labels)
    return Answer(boxes, np.array(scores, np.float32), np.array(labels), masks, points)


def compared(source: Answer, ours: Answer) -> Comparison:
    comparison = Comparison()
    comparison.add(source, ours)
    return comparison


def test_a_pair_has_one_class_and_nearly_one_box() -> None:
    given = answer([0, 1, 2], [0.9, 0.8, 0.7])
    assert compared(given, given).share == 1
    assert compared(given, answer([0, 2, 2], [0.9, 0.8, 0.7])).share == pytest.approx(2 / 3)
    assert compared(given, answer([0, 1, 2], [0.9, 0.8, 0.7], shift_px=0.5)).share == 1  # IoU 0.95
    assert compared(given, answer([0, 1, 2], [0.9, 0.8, 0.7], shift_px=2)).share == 0  # IoU 0.82
    assert compared(given, answer([0], [0.9])).share == pytest.approx(2 / 4)  # of three there and one here
    assert compared(answer([0], [0.9]), given).share == pytest.approx(2 / 4)


def test_a_box_of_one_pixel_has_a_partner_where_corners_are_pixels() -> None:
    given = answer([0], [0.9])
    given = dataclasses.replace(given, boxes=np.array([[7, 3, 7, 3]], np.float32))
    for pixels, share in ((False, 0), (True, 1)):
        comparison = Comparison(pixel_boxes=pixels)
        comparison.add(given, given)
        assert comparison.share == share


def test_detections_of_a_low_score_do_not_count_but_a_partner_may_have_one() -> None:
    given, low = answer([0, 1], [0.9, 0.2]), answer([0, 1], [0.45, 0.2])
    assert (compared(given, low).counted, compared(given, low).share) == (1, 1)
    assert not compared(low, low).same  # nothing was shown


def test_the_differences_of_the_pairs() -> None:
    found = compared(answer([0, 1], [0.9, 0.8]), answer([0, 1], [0.9, 0.7], shift_px=0.5, area=5))
    assert found.boxes == [0.5, 0.5]
    assert found.scores == pytest.approx([0, 0.1])
    assert found.masks == [0.5, 0.5]  # five of ten columns
    assert found.keypoints == pytest.approx([0.5 * 2**0.5] * 4)
    without = dataclasses.replace(answer([0], [0.9]), masks=None, keypoints=None)
    assert (compared(without, without).masks, compared(without, without).keypoints) == ([], [])
