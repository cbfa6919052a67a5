"""Random draws by a counter hash: what is sampled hangs on the seed, the step, the image and the candidate alone.

So it is the same on every device and however a batch is cut over processes, a resumed run draws what one that was never
stopped would draw, and no random number is made on the host while a step runs.

Letters: B images, N candidates of an image.
Ref: J. Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (2011), for counters in place of states; the mixing
of 32 bits is T. Mueller's, with a factor whose products fit int64, the widest type that torch computes with everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

ANCHORS, ROIS = 0, 1  # columns of an image's keys
_PURPOSES = 2
_BITS, _WORD = 32, 0xFFFFFFFF
_FACTOR = 0x45D9F3B


def image_keys(seed: int, step: int, images: Sequence[int]) -> Tensor:
    """What decides the draws of a step.

    Args:
        seed: of the run.
        step: its number.
        images: the number of each image in the batch of all processes.

    Returns:
        [B, 2] int64: the key of an image's anchors and of its RoIs, `priorities` takes a column.
    """
    states = [np.random.SeedSequence((seed, step, image)).generate_state(_PURPOSES, np.uint64) for image in images]
    return torch.from_numpy(np.array(states, np.uint64).reshape(-1, _PURPOSES).view(np.int64))


def random_keys(count: int) -> Tensor:
    """Keys [B, 2] of `count` images from torch's own random numbers."""
    return image_keys(int(torch.randint(2**62, ())), 0, range(count))


def priorities(keys: Tensor, count: int) -> Tensor:
    """A number for each of N candidates of each image: those with the lowest are drawn.

    Args:
        keys: [B] int64, on the device on which the numbers are wanted.
        count: N, at most 2^32.

    Returns:
        [B, N] int64, whole numbers below 2^32, no two of an image equal: each step of the hash can be undone.
    """
    numbers, keys = torch.arange(count, device=keys.device), keys[:, None]
    return _mixed(_mixed(numbers ^ (keys & _WORD)) ^ ((keys >> _BITS) & _WORD))


def _mixed(words: Tensor) -> Tensor:
    """Whole numbers of 32 bits in int64, each to another one."""
    for _ in range(2):
        words = ((words ^ (words >> 16)) * _FACTOR) & _WORD
    return words ^ (words >> 16)
