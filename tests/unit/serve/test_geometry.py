"""Boxes and keypoints on their way from the canvas to the original image."""

from __future__ import annotations

import numpy as np
import torch
from maskline_train.evaluation.evaluate import boxes_at_original_size, keypoints_at_original_size
from support.serving import model_files
from torchvision.models.detection.transform import resize_boxes

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


def test_boxes_have_the_last_bits_of_torchvision_s() -> None:
    """On the server and in evaluation; a quotient by the scale has others in one coordinate of four."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        original, longer = rng.integers(20, 3000, 2), int(rng.integers(20, 1400))
        resized = np.maximum(1, np.rint(original * (longer / original.max()))).astype(int)
        info = np.array([*resized, *(resized / original), *original], np.float32)
        boxes = (rng.random((40, 4)) * np.tile(resized[::-1], 2)).astype(np.float32)
        expected = resize_boxes(torch.from_numpy(boxes), resized.tolist(), original.tolist()).numpy()
        expected = np.minimum(expected, np.tile(info[:3:-1], 2))
        assert (geometry.boxes_to_image(boxes, info) == expected).all()
        assert (boxes_at_original_size(boxes, info) == expected).all()
