"""What is no mistake in a set of pictures, and hardly meant."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path

from maskline_train.data.coco import CocoDataset


def said_of_dark(count: int, total: int) -> str:
    """What is wrong with pictures that are nearly black, and what helps."""
    return (
        f"nearly black, as {count} of {total} pictures; values of 16 bits are divided by 257, so stretch them to the "
        "whole range, by one factor for all that is trained on and asked about"
    )


def in_both(learned: CocoDataset, judged: CocoDataset) -> list[Path]:
    """The files of `judged` that `learned` has too, under whatever name: what is learned by heart scores well.

    Of the same length and bytes; a picture that was stored anew is another file. Few are read: most lengths are alone.
    """
    by_length = defaultdict(list)
    for path in _files(learned):
        by_length[path.stat().st_size].append(path)
    known: dict[int, set[bytes]] = {}
    shared = []
    for path in _files(judged):
        length = path.stat().st_size
        if length in by_length:
            if length not in known:
                known[length] = {_digest(other) for other in by_length[length]}
            if _digest(path) in known[length]:
                shared.append(path)
    return shared


def said_of_both(shared: list[Path], learned: CocoDataset, judged: CocoDataset) -> str:
    """What is wrong with pictures of two splits, and what helps."""
    return (
        f"the same picture is in {learned.split} too, as {len(shared)} of {len(judged)}; a score on what was learned "
        f"by heart says little, so take them out of {learned.split} or {judged.split}"
    )


def _files(dataset: CocoDataset) -> list[Path]:
    return [dataset.image_folder / record.file_name for record in dataset]


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
