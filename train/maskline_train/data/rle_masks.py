"""The masks of an image's objects, each drawn when it is asked for: a thousand of 24 megapixels at once are 24 GB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

Mask = npt.NDArray[np.uint8]  # [H, W], 0 or 1


class RleMasks:
    """G masks of one size, kept as run lengths.

    Args:
        rles: compressed, as pycocotools has them.
        size: (height, width).
    """

    def __init__(self, rles: Sequence[Any], size: tuple[int, int]) -> None:
        self._rles = rles
        self._size = size

    def __len__(self) -> int:
        """G."""
        return len(self._rles)

    def __getitem__(self, index: int) -> Mask:
        """One mask, drawn anew."""
        return np.asarray(coco_mask.decode(self._rles[index]))

    def __iter__(self) -> Iterator[Mask]:
        """One after another; what is not kept costs the memory of one."""
        return (self[index] for index in range(len(self)))

    def array(self) -> npt.NDArray[np.uint8]:
        """All of them, [G, H, W]."""
        masks = np.zeros((len(self), *self._size), np.uint8)
        for out, mask in zip(masks, self, strict=True):
            out[:] = mask
        return masks
