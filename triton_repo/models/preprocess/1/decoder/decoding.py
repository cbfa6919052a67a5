"""Decodes and resizes files in a process of their own, by the model's own images.py.

Letters: H W the picture in a file, h w the size it is brought to.
"""

from __future__ import annotations

import mmap
import os
import socket
import warnings
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from .. import filters, images
from . import confinement
from .messages import DECODED, FAILED, LENGTH, OUT_OF_MEMORY, REFUSED, Layout, Reply


def ready(region: mmap.mmap, parameters: Mapping[str, str]) -> tuple[Decoder, dict[str, Any]]:
    """Load all that decoding takes, then confine this process.

    Args:
        region: memory that the parent sees too.
        parameters: of config.pbtxt.

    Returns:
        What decodes; and for the parent's log what is in force, and what the platform refused.

    Raises:
        ValueError: a parameter is wrong; the text names it.
    """
    decoder = Decoder(region, parameters)
    decoder.warm_up()
    _silence()
    in_force, refused = confinement.confine(images.whole_number(parameters, "max_decode_bytes"))
    return decoder, {"in_force": in_force, "refused": refused}


class Decoder:
    """Answers for one file after the other."""

    def __init__(self, region: mmap.mmap, parameters: Mapping[str, str]) -> None:
        self._region, self._layout = region, Layout.of(parameters)
        self._geometry, self._limits = images.geometry_of(parameters), images.limits_of(parameters)
        self._resize, _ = filters.choose(parameters.get("resize_filter", ""), threads=1)
        Image.MAX_IMAGE_PIXELS = None  # ours take its place

    def serve(self, channel: socket.socket) -> None:
        """Answer until the other end is closed."""
        while request := channel.recv(LENGTH.size):
            channel.send(self._reply(self._region[: LENGTH.unpack(request)[0]]).packed())

    def warm_up(self) -> None:
        """Decode a file of each kind: what Pillow imports meanwhile cannot be imported any more when confined."""
        Image.init()
        for file in _probes():
            reply = self._reply(file)
            if reply.kind != DECODED:
                raise ValueError(f"got {reply.text!r} for a {file[:4]!r} file of ours, expected its picture")

    def _reply(self, file: bytes) -> Reply:
        try:
            picture, original = images.prepare(file, self._geometry, self._limits, self._resize)
        except images.InvalidImageError as error:
            return Reply(REFUSED, text=str(error))
        except MemoryError:
            return Reply(OUT_OF_MEMORY)
        except Exception as error:  # whatever it is, the next file is decoded
            return Reply(FAILED, text=f"{type(error).__name__}: {error}")
        h, w = picture.shape[:2]
        np.frombuffer(self._region, np.uint8, picture.size, self._layout.picture_at).reshape(h, w, 3)[:] = picture
        return Reply(DECODED, (h, w), original)


def _probes() -> list[bytes]:
    """A file of each format, turned by EXIF, and with transparency where the format has it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    files = []
    for image_format, mode in (("JPEG", "RGB"), ("JPEG", "CMYK"), ("PNG", "RGBA"), ("PNG", "I;16"), ("WEBP", "RGBA")):
        file = BytesIO()
        Image.new(mode, (16, 8)).save(file, image_format, exif=exif)
        files.append(file.getvalue())
    return files


def _silence() -> None:
    """Nothing that is in a file may write to the server's log."""
    warnings.simplefilter("ignore")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
