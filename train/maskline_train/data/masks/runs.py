"""The run lengths of a mask in COCO's compressed form, all at once.

`maskline_coco.segmentation.decode_counts` reads the same, character by character, and says what is wrong with it; what
comes here has been through that, or is pycocotools' own.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def run_lengths(counts: bytes | str) -> npt.NDArray[np.int64]:
    """The lengths of the runs, of zeros and of ones in turn, that a good compressed text holds.

    Returns:
        [n] int64; none for an empty text.
    """
    text = counts.encode("ascii") if isinstance(counts, str) else counts
    bits = np.frombuffer(text, np.uint8).astype(np.int64) - ord("0")
    ends = np.flatnonzero(bits < 32)  # bit 6: the number goes on
    if not len(ends):
        return np.zeros(0, np.int64)
    begins = np.concatenate([[0], ends[:-1] + 1])
    digits = ends - begins + 1
    places = 5 * (np.arange(len(bits)) - np.repeat(begins, digits))
    numbers = np.add.reduceat((bits & 31) << places, begins)
    numbers -= (bits[ends] & 16 > 0) << 5 * digits  # the sign
    numbers[1::2] = np.cumsum(numbers[1::2])  # from the fourth on the difference to the one two before
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
