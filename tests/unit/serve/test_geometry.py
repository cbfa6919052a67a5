"""Boxes and keypoints on their way from the canvas to the original image."""

from __future__ import annotations

import numpy as np
from maskline_train.evaluation.evaluate import keypoints_at_original_size
from support.serving import model_files

geometry = model_files.load("models/postprocess/1/geometry.py")


def test_boxes_return_to_the_original_picture_and_are_clipped_to_it() -> None:
    # A 100 x 200 (h x w) picture on the canvas at 50 x 80: scales 0.5 and 0.4.
    info = np.array([50, 80, 0.5, 0.4, 100, 200], np.float32)
    boxes = np.array([[8, 10, 40, 25], [-4, -5, 90, 60], [0, 0, 80, 50]], np.float32)
    np.testing.assert_allclose(
        geometry.boxes_to_image(boxes, info), [[20, 20, 100, 50], [0, 0, 200, 100], [0, 0, 200, 100]], rtol=1e-6
    )
    assert geometry.boxes_to_image(boxes[:0], info).shape == (0, 4)


def test_keypoints_return_to_the_original_picture_as_in_evaluation() -> None:
    info = np.array([50, 80, 0.5, 0.4, 100, 200], np.float32)
    keypoints = np.array([[[8, 10, 0.25], [0, 0, 1]], [[80, 50, 0.5], [90, -5, 0.75]]], np.float32)
    found = geometry.keypoints_to_image(keypoints, info)
    # The scores stay, and a keypoint beyond the edge stays there: it is where the network saw the elbow to be.
    expected = [[[20, 20, 0.25], [0, 0, 1]], [[200, 100, 0.5], [225, -10, 0.75]]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)  # float32
    assert (found == keypoints_at_original_size(keypoints, info)).all()
    assert found.dtype == np.float32
