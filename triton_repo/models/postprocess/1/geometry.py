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
    _, _, scale_y, scale_x, height, width = image_info
    scale = np.array([scale_x, scale_y, scale_x, scale_y], np.float32)
    limit = np.array([width, height, width, height], np.float32)
    return np.clip(boxes / scale, np.float32(0), limit)


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
    _, _, scale_y, scale_x, _, _ = image_info
    return keypoints / np.array([scale_x, scale_y, 1], np.float32)
