"""From the canvas to the original image. Numpy only.

Letters: D detections an image, J keypoints.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def boxes_to_image(boxes: npt.NDArray[np.float32], image_info: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Canvas boxes as boxes of the original image, clipped to it.

    Args:
        boxes: [D,4] float32 xyxy, px of the canvas.
        image_info: [6] float32, resized_h, resized_w, scale_y, scale_x, original_h, original_w.

    Returns:
        [D,4] float32 xyxy, px of the original image.
    """
    limit = np.tile(image_info[:3:-1], 2)
    return np.clip(boxes * np.tile(_enlargement(image_info), 2), np.float32(0), limit)


def keypoints_to_image(
    keypoints: npt.NDArray[np.float32], image_info: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Keypoints of the canvas as keypoints of the original image; one that lies beyond its edge stays there.

    Args:
        keypoints: [D,J,3] float32 x, y, probability; px of the canvas.
        image_info: [6] float32, as above.

    Returns:
        [D,J,3] float32 x, y, probability; px of the original image.
    """
    return keypoints * np.array([*_enlargement(image_info), 1], np.float32)


def _enlargement(image_info: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """[2] float32, x and y: original / resized, rounded once, by which a length is multiplied as in training."""
    return image_info[:3:-1] / image_info[1::-1]
