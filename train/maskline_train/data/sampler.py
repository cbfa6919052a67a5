"""Which images make up which batch: an endless, reproducible order whose position is one whole number.

The order is that of global batches, shared by all processes; process r of W takes the r-th part of each, so W
processes of n images draw what one process of W * n images draws.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

ORDER_STREAM, ITEM_STREAM = 1, 2  # last word of the seed: keeps the shuffling apart from the augmentation


@dataclasses.dataclass(frozen=True, slots=True)
class Draw:
    """One image of a batch: with the seed, all that its augmentation depends on."""

    epoch: int
    index: int


@dataclasses.dataclass(frozen=True)
class TrainSampler:
    """Batches of draws, without end; each epoch shows each image once, in a new order.

    The images of a global batch belong to one group (portrait or landscape), which keeps the padding small. What
    does not fill a batch at the end of an epoch opens the next one's first batch of that group.

    Attributes:
        groups: the group of each image, by position in `indices`.
        indices: the images that take part.
        batch_size: images a batch and process.
        start_batch: how many batches were drawn before; iterating goes on from there.
    """

    indices: Sequence[int]
    groups: Sequence[int]
    batch_size: int
    seed: int
    rank: int = 0
    world_size: int = 1
    start_batch: int = 0

    def __post_init__(self) -> None:
        """Refuse what would never fill a batch."""
        if not self.indices or len(self.groups) != len(self.indices):
            raise ValueError(
                f"TrainSampler: got {len(self.indices)} images and {len(self.groups)} groups, expected as many of "
                "each and at least one; does the split hold usable annotations?"
            )
        if self.batch_size < 1 or not 0 <= self.rank < self.world_size or self.start_batch < 0:
            raise ValueError(
                f"TrainSampler: got batch_size {self.batch_size}, rank {self.rank} of {self.world_size}, start_batch "
                f"{self.start_batch}; expected batch_size >= 1, 0 <= rank < world_size, start_batch >= 0"
            )

    def __iter__(self) -> Iterator[list[Draw]]:
        """This process's part of each global batch, from `start_batch` on.

        Earlier batches are walked through without being loaded (a third of a second for twelve epochs of COCO).
        """
        start = self.rank * self.batch_size
        for number, batch in enumerate(self._global_batches()):
            if number >= self.start_batch:
                yield batch[start : start + self.batch_size]

    def _global_batches(self) -> Iterator[list[Draw]]:
        size = self.batch_size * self.world_size
        open_batches: dict[int, list[Draw]] = {group: [] for group in set(self.groups)}
        epoch = 0
        while True:
            rng = np.random.default_rng((self.seed, epoch, ORDER_STREAM))
            for position in rng.permutation(len(self.indices)).tolist():
                group = self.groups[position]
                open_batches[group].append(Draw(epoch, self.indices[position]))
                if len(open_batches[group]) == size:
                    yield open_batches[group]
                    open_batches[group] = []
            epoch += 1


def item_rng(seed: int, draw: Draw) -> np.random.Generator:
    """The random stream of one image in one epoch, whichever process or worker asks for it."""
    return np.random.default_rng((seed, draw.epoch, draw.index, ITEM_STREAM))
