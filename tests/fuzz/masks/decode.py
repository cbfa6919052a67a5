"""The client's reading of RLE: counts that lie are refused before anything is made of them.

What is taken is what the reader of COCO files, written apart, reads of it, and comes back the same from a mask.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from atheris import FuzzedDataProvider
from fuzz.oracle import judged
from maskline_client import rle
from maskline_coco import segmentation

SIZES = ((1, 1), (2, 3), (48, 72), (0, 5), (-3, -4), (5, -1), (2**31 - 1, 2**31 - 1), (2**17, 2**17), (1, 2**40))
# Times that a part is repeated. What libFuzzer likes it keeps and edits further, so that "seldom" is often in the end:
# a megabyte here, a second each, made a million executions take days.
_OFTEN, _SELDOM = 1 << 8, 1 << 11
_SMALL_PX = 1 << 20


def prepare(_: Path) -> Callable[[bytes], None]:
    """The target."""
    return run


def run(data: bytes) -> None:
    """One text at one size."""
    choices = FuzzedDataProvider(data)
    size = choices.PickValueInList([*SIZES, (choices.ConsumeIntInRange(1, 40), choices.ConsumeIntInRange(1, 40))])
    text = _text(choices, size)
    counts = None
    with judged(ValueError):
        counts = rle.decode_counts(text)
    if counts is not None:
        assert counts.tolist() == segmentation.decode_counts(text.decode("latin1"))
        assert counts.min(initial=0) >= 0
        np.testing.assert_array_equal(rle.decode_counts(rle.encode_counts(counts)), counts)
    mask = None
    with judged(ValueError):
        mask = rle.to_mask(text, size)
    if mask is not None:
        assert counts is not None
        assert mask.shape == size
        assert sum(counts.tolist()) == size[0] * size[1]
        if mask.size <= _SMALL_PX:
            assert mask.sum() == rle.area(text)
            np.testing.assert_array_equal(rle.to_mask(rle.from_mask(mask), size), mask)


def _text(choices: FuzzedDataProvider, size: tuple[int, int]) -> bytes:
    way = choices.ConsumeIntInRange(0, 3)
    if way == 0:
        return choices.ConsumeBytes(choices.ConsumeIntInRange(0, 200))
    if way == 1:  # the same characters many times
        part = bytes(48 + choices.ConsumeIntInRange(0, 63) for _ in range(choices.ConsumeIntInRange(1, 14)))
        most = _SELDOM if choices.ConsumeIntInRange(0, 255) == 1 else _OFTEN
        return part * choices.ConsumeIntInRange(1, most)
    total, counts = max(size[0] * size[1], 0), []
    for _ in range(choices.ConsumeIntInRange(0, 20)):
        counts.append(choices.ConsumeIntInRange(0, min(max(total, 1), 2**33)))
        total -= counts[-1]
    if way == 2:
        counts.append(max(min(total, 2**34 - 1), 0))  # most often the right sum
    return bytes(rle.encode_counts(counts))
