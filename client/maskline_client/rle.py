"""COCO's compressed run lengths in numpy: decoding, encoding, area.

A mask is read column by column; the counts are the lengths of its runs, zeros first. Counts from the fourth on are
written as the difference to the count two places before, each number in groups of 5 bits, low group first:
character = 48 + bits, plus 32 when another group follows; bit 16 of the last group is the sign.

Ref: `rleToString` and `rleFrString` in the COCO API's maskApi.c.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_OFFSET, _MORE, _SIGN, _BITS = 48, 0x20, 0x10, 5
_MAX_GROUPS = 7  # 35 bits hold any run of an image; sums of such numbers stay far inside int64
MAX_PIXELS = 2**31 - 1  # of an image, and so of a run: what the server's encoders take; sums of runs stay inside int64


def decode_counts(rle: bytes) -> Counts:
    """Run lengths of a compressed RLE, zeros first; an empty string has none.

    Raises:
        ValueError: a character outside the code, a number cut off at the end, or a run of no image.
    """
    if not rle:
        return np.zeros(0, np.int64)
    groups = np.frombuffer(rle, np.uint8).astype(np.int64) - _OFFSET
    last = (groups & _MORE) == 0
    if groups.min() < 0 or groups.max() >= 2 * _MORE or not last[-1]:
        raise ValueError(f"RLE: got {rle[:24]!r}, expected COCO's compressed counts that end with a whole number")
    ends = np.flatnonzero(last)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > _MAX_GROUPS:
        raise ValueError(f"RLE: got a number of {lengths.max()} characters, expected at most {_MAX_GROUPS}")
    places = np.arange(len(groups)) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((groups & (_MORE - 1)) << (_BITS * places), starts)
    numbers -= np.where(groups[ends] & _SIGN, np.int64(1) << (_BITS * lengths), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    if numbers.min() < 0 or numbers.max() > MAX_PIXELS:
        wrong = numbers.min() if numbers.min() < 0 else numbers.max()
        raise ValueError(f"RLE: got a run of {wrong} pixels, expected runs of 0 to {MAX_PIXELS}")
    return numbers


def encode_counts(counts: npt.ArrayLike) -> bytes:
    """The compressed RLE of run lengths, byte for byte as pycocotools writes it."""
    runs = np.asarray(counts, np.int64).reshape(-1)
    if not len(runs):
        return b""
    numbers = runs.copy()
    numbers[3:] -= runs[1:-2]
    fits = [(numbers >= -(1 << (_BITS * k - 1))) & (numbers < 1 << (_BITS * k - 1)) for k in range(1, _MAX_GROUPS)]
    lengths = _MAX_GROUPS - np.sum(fits, axis=0, dtype=np.int64)
    starts = np.cumsum(lengths) - lengths
    places = np.arange(lengths.sum()) - np.repeat(starts, lengths)
    groups = (np.repeat(numbers, lengths) >> (_BITS * places)) & (_MORE - 1)
    groups[places < np.repeat(lengths, lengths) - 1] |= _MORE
    return bytes((groups + _OFFSET).astype(np.uint8))


def to_mask(rle: bytes, size: tuple[int, int]) -> Mask:
    """The mask of an RLE.

    Args:
        rle: compressed counts.
        size: (height, width) of the image.

    Returns:
        [H, W] bool.

    Raises:
        ValueError: not a compressed RLE, one of another image size, or a size of no image; before anything is made.
    """
    height, width = size
    if min(size) < 0 or height * width > MAX_PIXELS:
        raise ValueError(f"RLE: got an image of {height}x{width}, expected at most {MAX_PIXELS} pixels")
    counts = decode_counts(rle)
    if counts.sum() != height * width:
        raise ValueError(f"RLE: got {counts.sum()} pixels, expected {height * width} for an image of {height}x{width}")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(width, height).T


def from_mask(mask: npt.ArrayLike) -> bytes:
    """The compressed RLE of a [H, W] mask; nonzero pixels belong to the object."""
    flat = np.asarray(mask, bool).T.reshape(-1)
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate(([0], changes, [flat.size]))
    counts = np.diff(edges)
    if flat.size and flat[0]:
        counts = np.concatenate(([0], counts))
    return encode_counts(counts)


def area(rle: bytes) -> int:
    """Pixels that belong to the object."""
    return int(decode_counts(rle)[1::2].sum())


def bounds(rle: bytes, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The smallest box that holds the whole mask, from its runs alone: no pixel is made.

    A detection's own box need not hold it.

    Args:
        rle: compressed counts.
        size: (height, width) of the image.

    Returns:
        x0 y0 x1 y1 in whole pixels, x1 and y1 one past the last; four zeros of an empty mask.

    Raises:
        ValueError: not a compressed RLE, or one of another image size.
    """
    height, width = size
    ends = np.cumsum(decode_counts(rle))
    total = int(ends[-1]) if len(ends) else 0
    if total != height * width:
        raise ValueError(f"RLE: got {total} pixels, expected {height * width} for an image of {height}x{width}")
    firsts, lasts = ends[:-1:2], ends[1::2] - 1
    there = lasts >= firsts
    if not there.any():
        return 0, 0, 0, 0
    left, top = np.divmod(firsts[there], height)
    right, bottom = np.divmod(lasts[there], height)
    x0, x1 = int(left.min()), int(right.max()) + 1
    if (right > left).any():  # a run that goes on in the next column holds the last row and the first
        return x0, 0, x1, height
    return x0, int(top.min()), x1, int(bottom.max()) + 1


def iou(a: bytes, b: bytes) -> float:
    """Intersection over union of two masks of one image, without decoding them to pixels; 1 of two empty ones.

    Raises:
        ValueError: not compressed RLEs, or of images of different sizes.
    """
    ends = [np.cumsum(decode_counts(mask)) for mask in (a, b)]
    sizes = [int(end[-1]) if len(end) else 0 for end in ends]
    if sizes[0] != sizes[1]:
        raise ValueError(f"RLE: got masks of {sizes[0]} and {sizes[1]} pixels, expected two of one image")
    edges = np.unique(np.concatenate(([0], *ends)))
    # Between two edges neither mask changes: runs of odd number are the object.
    inside = [np.searchsorted(end, edges[:-1], side="right") % 2 == 1 for end in ends]
    lengths = np.diff(edges)
    union = int(lengths[inside[0] | inside[1]].sum())
    return int(lengths[inside[0] & inside[1]].sum()) / union if union else 1.0
