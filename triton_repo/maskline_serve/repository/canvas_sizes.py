"""Which canvases a server meets, and how large the tensors of a stage are on one.

Letters: H W canvas, Hi Wi level i.
"""

from __future__ import annotations

import math
import re

from maskline_serve.repository.artifact import Tensor

BYTES = {"UINT8": 1, "INT32": 4, "FP32": 4, "FP16": 2, "BF16": 2}  # of a value

Canvas = tuple[int, int]


def request_canvases(canvases: tuple[Canvas, ...]) -> list[Canvas]:
    """Those that a request can get: of the artifact, and the element-wise maxima of several that none of them holds."""
    joints = list(dict.fromkeys(canvases))
    for first in joints:  # grows while it is walked, up to all products of heights and widths
        for second in list(joints):
            joint = (max(first[0], second[0]), max(first[1], second[1]))
            if joint not in joints:
                joints.append(joint)
    return [
        joint
        for joint in joints
        if joint in canvases or not any(height >= joint[0] and width >= joint[1] for height, width in canvases)
    ]


def dims_on(item: Tensor, canvas: Canvas) -> tuple[int, ...]:
    """A tensor's dims for one image on a canvas, without the batch."""
    return tuple(_side(side, canvas) for side in item.shape[1:])


def tensor_bytes(item: Tensor, canvas: Canvas) -> int:
    """Size of one image's share of a tensor."""
    return BYTES[item.dtype] * math.prod(dims_on(item, canvas))


def _side(side: int | str, canvas: Canvas) -> int:
    """The number behind a symbol: H or W of the canvas, or, with a level's number at its end, of that level."""
    if isinstance(side, int):
        return side
    level = re.search(r"\d$", side)
    stride = 1 << int(level.group() if level else 0)
    return -(-canvas[0 if side.startswith("H") else 1] // stride)
