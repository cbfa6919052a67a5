"""Drawn objects: where, in which colour, and nothing else touched."""

import numpy as np
import pytest
from maskline_train.evaluation.pictures import MASK_OPACITY, PALETTE, colour_of, contact_sheet, draw_objects
from PIL import Image

CLASSES = tuple(f"class {i}" for i in range(12))


def ground(height: int = 120, width: int = 160) -> np.ndarray:
    return np.full((height, width, 3), 100, np.uint8)


def test_nothing_to_draw_changes_nothing():
    image = ground()
    picture = draw_objects(image, [], [], CLASSES, np.zeros((0, 120, 160), bool), [])
    assert np.array_equal(np.asarray(picture), image)


def test_a_mask_is_mixed_in_and_the_input_is_left_alone():
    image, mask = ground(), np.zeros((1, 120, 160), np.uint8)
    mask[0, 60:80, 50:90] = 1
    picture = np.asarray(draw_objects(image, [[40, 50, 100, 90]], [1], CLASSES, mask))
    assert (image == 100).all()
    expected = [int(100 + MASK_OPACITY * (c - 100) + 0.5) for c in PALETTE[1]]
    assert picture[70, 60].tolist() == expected
    assert picture[85, 60].tolist() == [100, 100, 100]  # in the box, outside the mask
    assert picture[50, 60].tolist() == list(PALETTE[1])  # the frame
    assert picture[89, 99].tolist() == list(PALETTE[1])  # the last pixel inside
    assert picture[90, 60].tolist() == [100, 100, 100]  # the first one outside
    assert picture[95:, :].min() == 100


@pytest.mark.parametrize("box", [[0, 0, 160, 120], [150, 0, 160, 5], [5, 5, 5, 5], [-20, -20, 300, 300]])
def test_boxes_at_and_beyond_the_border_are_drawn(box):
    picture = draw_objects(ground(), [box], [11], CLASSES, scores=[0.987])
    assert picture.size == (160, 120)
    assert (np.asarray(picture) == colour_of(11)).all(axis=2).any()


def test_scores_change_the_label_only():
    plain, scored = (
        np.asarray(draw_objects(ground(), [[40, 50, 100, 90]], [0], CLASSES, scores=s)) for s in (None, [0.5])
    )
    assert np.array_equal(plain[51:], scored[51:])
    assert not np.array_equal(plain[:50], scored[:50])


def test_a_contact_sheet_places_its_tiles_in_order():
    tiles = [Image.new("RGB", (40, 20), (i, 0, 0)) for i in (10, 20, 30)]
    sheet = np.asarray(contact_sheet(tiles, 2, (20, 40)))
    assert sheet.shape == (44, 84, 3)
    assert [int(sheet[10, 20, 0]), int(sheet[10, 64, 0]), int(sheet[34, 20, 0])] == [10, 20, 30]
    assert sheet[34, 64].tolist() == [255, 255, 255]
    with pytest.raises(ValueError, match="at least 1"):
        contact_sheet([], 2, (20, 40))
