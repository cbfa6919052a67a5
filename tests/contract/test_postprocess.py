"""The server's masks are those of PyTorch's evaluation, byte for byte, and say the same boxes."""

from __future__ import annotations

import numpy as np
import pytest
from maskline_train.evaluation.paste import encode_masks
from support.serving import model_files

rle = model_files.load("models/postprocess/1/rle.py")


@pytest.mark.parametrize("size", [(48, 64), (333, 500), (1, 300), (300, 1), (1500, 1100)])
@pytest.mark.parametrize("side", [14, 28])
def test_the_server_encodes_the_same_bytes_as_evaluation(size: tuple[int, int], side: int) -> None:
    rng = np.random.default_rng(side)
    height, width = size
    corners = np.sort(rng.uniform(-0.1, 1.1, (24, 2, 2)), axis=1) * [width, height]
    boxes = np.clip(corners.reshape(24, 4), 0, [width, height, width, height]).astype(np.float32)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    blob = 0.63 * (1.4 - np.hypot(y, x))  # crosses one half well inside the grid
    masks = np.clip(blob + rng.normal(0, 0.24, (24, side, side)), 0, 1).astype(np.float32)
    expected = [entry["counts"] for entry in encode_masks(masks, boxes, size)]
    assert [rle.encode_mask(mask, box, size) for mask, box in zip(masks, boxes, strict=True)] == expected
