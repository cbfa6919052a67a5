"""Detections as the package `supervision` has them: whole masks, and what its own tools make of them."""

import dataclasses
import sys

import numpy as np
import pytest
import supervision
from maskline_client import Detections, rle

SIZE = (60, 80)


def wide_masks() -> Detections:
    """Two discs and an empty mask, whose boxes are tighter than what they are of."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    masks = [(rows - 30) ** 2 + (columns - x) ** 2 < 15**2 for x in (20, 55)] + [np.zeros(SIZE, bool)]
    return Detections(
        boxes=np.array([[15, 25, 24.5, 33], [50, 20, 60, 40], [1, 1, 2, 2]], np.float32),
        scores=np.array([0.9, 0.8, 0.7], np.float32),
        labels=np.array([2, 0, 2], np.int32),
        names=("star", "square", "star"),
        rle=tuple(rle.from_mask(mask) for mask in masks),
        image_size=SIZE,
    )


def test_every_field_arrives_in_the_same_order() -> None:
    found = wide_masks()
    theirs = found.to_supervision()
    np.testing.assert_array_equal(theirs.xyxy, found.boxes)
    np.testing.assert_array_equal(theirs.confidence, found.scores)
    assert theirs.class_id.tolist() == [2, 0, 2]
    assert theirs["class_name"].tolist() == ["star", "square", "star"]
    stars = theirs[theirs["class_name"] == "star"]
    np.testing.assert_array_equal(stars.xyxy, found.filter(names={"star"}).boxes)


def test_masks_are_whole_where_the_box_is_tighter() -> None:
    found = wide_masks()
    masks = np.asarray(found.to_supervision().mask)
    assert masks.dtype == np.bool_
    np.testing.assert_array_equal(masks, found.masks())
    x0, y0, x1, y1 = (int(side) for side in found.boxes[0])
    assert masks[0].sum() > masks[0, y0:y1, x0:x1].sum()  # the test has such a box


def test_its_annotator_paints_where_the_mask_is() -> None:
    found = wide_masks().filter(names={"square"})
    gray = np.full((*SIZE, 3), 128, np.uint8)
    painted = supervision.MaskAnnotator(opacity=0.5).annotate(gray.copy(), found.to_supervision())
    np.testing.assert_array_equal((painted != gray).any(axis=2), found.mask(0))


def test_no_object_and_no_mask_have_their_forms() -> None:
    nothing = wide_masks().filter(min_score=1).to_supervision()
    assert len(nothing) == 0
    assert nothing.mask.shape == (0, *SIZE)
    assert dataclasses.replace(wide_masks(), rle=None).to_supervision().mask is None


def test_a_missing_package_is_named_with_its_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ImportError, match=r"^to_supervision: got .*, expected the package supervision; `pip install"):
        wide_masks().to_supervision()
