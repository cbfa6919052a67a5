"""The masks of an image's objects, each drawn when it is asked for: a thousand of 24 megapixels at once are 24 GB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from maskline_train.data.masks.crops import NOTHING, Crop, Mask
from maskline_train.data.masks.runs import run_lengths


class RleMasks:
    """G masks of one size, kept as run lengths.

    Args:
        rles: compressed, as pycocotools has them.
        size: (height, width).
    """

    def __init__(self, rles: Sequence[Any], size: tuple[int, int]) -> None:
        self.rles = rles
        self.size = size

    def __len__(self) -> int:
        """G."""
        return len(self.rles)

    def __getitem__(self, index: int) -> Mask:
        """One mask, drawn anew."""
        return np.asarray(coco_mask.decode(self.rles[index]))

    def __iter__(self) -> Iterator[Mask]:
        """One after another; what is not kept costs the memory of one."""
        return (self[index] for index in range(len(self)))

    def array(self) -> npt.NDArray[np.uint8]:
        """All of them, [G, H, W]."""
        masks = np.zeros((len(self), *self.size), np.uint8)
        for out, mask in zip(masks, self, strict=True):
            out[:] = mask
        return masks

    @property
    def crops(self) -> Iterator[Crop]:
        """One after another what lies in the bounding boxes; no whole mask is drawn."""
        return (_crop(run_lengths(rle["counts"]), self.size[0]) for rle in self.rles)


def _crop(runs: npt.NDArray[np.int64], height: int) -> Crop:
    """The bounding box of a mask of this height, drawn from its run lengths: down the columns, zeros first."""
    edges = np.cumsum(runs)[: len(runs) // 2 * 2].reshape(-1, 2)  # where ones begin, and where they end
    begins, ends = edges[edges[:, 0] < edges[:, 1]].T
    if not len(begins):
        return NOTHING
    (first, top), (last, bottom) = np.divmod(begins, height), np.divmod(ends - 1, height)
    x0, width = int(first[0]), int(last[-1] - first[0]) + 1
    # Ones that go on in the next column reach from its top to the bottom; others keep their place in a lower window.
    y0, rows = (0, height) if (first < last).any() else (int(top.min()), int(bottom.max() - top.min()) + 1)
    inside = (first - x0) * rows + top - y0
    lengths = np.empty(2 * len(inside) + 1, np.int64)
    lengths[1::2] = ends - begins
    lengths[0::2] = np.append(inside, width * rows) - np.append(0, inside + lengths[1::2])
    values = np.zeros(len(lengths), np.uint8)
    values[1::2] = 1
    return Crop(x0, y0, np.repeat(values, lengths).reshape(width, rows).T)
