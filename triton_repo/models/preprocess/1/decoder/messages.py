"""What a process that decodes and the one that asks it tell each other: packets, and shared memory beside them.

Standard library only. Sizes are (height, width) in pixels.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from typing import NamedTuple

LENGTH = struct.Struct("<Q")  # of a file in the region: the whole request
SETUP_BYTES = 1 << 16  # at most, a packet; Linux takes three times as many
REPLY_BYTES = 1 << 12
DECODED, REFUSED, OUT_OF_MEMORY, FAILED = range(4)
_HEAD = struct.Struct("<B4I")


class Reply(NamedTuple):
    """What came of a file.

    Attributes:
        kind: DECODED, REFUSED, OUT_OF_MEMORY or FAILED.
        size: of the resized picture in the region; 0, 0 where there is none.
        original: of the picture in the file, likewise.
        text: why it was refused, or failed.
    """

    kind: int
    size: tuple[int, int] = (0, 0)
    original: tuple[int, int] = (0, 0)
    text: str = ""

    def packed(self) -> bytes:
        """As a packet."""
        head = _HEAD.pack(self.kind, *self.size, *self.original)
        return head + self.text.encode(errors="replace")[: REPLY_BYTES - _HEAD.size]

    @staticmethod
    def unpacked(packet: bytes) -> Reply:
        """From a packet; struct.error where it is none."""
        kind, *sides = _HEAD.unpack_from(packet)
        return Reply(kind, (sides[0], sides[1]), (sides[2], sides[3]), packet[_HEAD.size :].decode(errors="replace"))


class Layout(NamedTuple):
    """Where things lie in the region, in bytes: the file at its start, then the resized picture, RGB."""

    picture_at: int
    size: int

    @staticmethod
    def of(parameters: Mapping[str, str]) -> Layout:
        """Room for the largest file and the largest picture; what is not touched takes no memory.

        By every rule of sizes the area of a resized picture is at most the square of `longer_side_px`, give or take a
        rounding of each side.
        """
        at = -(-int(parameters["max_image_bytes"]) // mmap.PAGESIZE) * mmap.PAGESIZE
        return Layout(at, at + 3 * (int(parameters["longer_side_px"]) + 1) ** 2)
