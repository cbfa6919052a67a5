"""Decodes JPEG files where an instance of this model is: on its GPU by nvJPEG, or on the CPU; both by nvImageCodec.

What it does not take, or would not answer as Pillow does, is left out: the host decodes it, or says what is wrong.
Imports nothing of ours, so that `maskline-serve doctor` can try it by itself.

Ref: https://docs.nvidia.com/cuda/nvimagecodec/py_api.html.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from io import BytesIO
from typing import Any

# Before the import. It says of each file that it does not take that it does not; the host's refusal goes to the client.
os.environ.setdefault("PYNVIMGCODEC_VERBOSITY", "0")
from nvidia import nvimgcodec
from PIL import Image

HOST = -1  # as the number of a card
# A larger one would hold its memory on the card for good: 75 MB decoded, four times that as floats.
_MAX_PIXELS = 25_000_000
_END = b"\xff\xd9"  # the last marker of a whole file: what is cut short Pillow refuses, and nvJPEG may fill up
_YCC = 1  # Adobe's mark of three components that are YCbCr
_ORIENTATION_TAG = 0x0112
# Chroma is smoothed between its samples, as libjpeg does by itself.
_OPTIONS = ":fancy_upsampling=1"


class DeviceDecoder:
    """nvImageCodec's decoder of one place; for one thread.

    Args:
        card: number of the GPU, or HOST.
        threads: of the host, which read a file's Huffman codes where the card does not.

    Raises:
        ValueError: it decodes nothing there.
    """

    def __init__(self, card: int, threads: int) -> None:
        kinds = [nvimgcodec.CPU_ONLY]
        if card != HOST:
            kinds = [nvimgcodec.HW_GPU_ONLY, nvimgcodec.HYBRID_CPU_GPU, nvimgcodec.GPU_ONLY]
        self._params = nvimgcodec.DecodeParams(apply_exif_orientation=True, sample_format=nvimgcodec.P_RGB)
        place = "the CPU" if card == HOST else f"GPU {card}"
        try:
            self._decoder = nvimgcodec.Decoder(
                device_id=nvimgcodec.NVIMGCODEC_DEVICE_CPU_ONLY if card == HOST else card,
                max_num_cpu_threads=threads,
                backends=[nvimgcodec.Backend(kind) for kind in kinds],
                options=_OPTIONS,
            )
            ready = self.decode([(probe := _probe())], [Image.open(BytesIO(probe), formats=("JPEG",))]) != [None]
        except RuntimeError as error:  # no driver, no such card
            raise ValueError(f"nvImageCodec on {place}: {error}") from error
        if not ready:
            raise ValueError(
                f"nvImageCodec on {place}: got no picture of a plain JPEG, expected nvJPEG beside it; "
                "`pip install 'maskline[gpu,decode]'`"
            )

    def decode(self, files: Sequence[bytes], headers: Sequence[Image.Image | None]) -> list[Any]:
        """Decode what it takes, in one go.

        Args:
            files: the files.
            headers: each as Pillow opened it, not loaded; None: not to be decoded here.

        Returns:
            For each file its upright picture where this decoder is, uint8 planes RGB [3,H,W], an `nvimgcodec.Image`; or
            None, where the host has to decode it.
        """
        chosen = [at for at, header in enumerate(headers) if header is not None and takes(files[at], header)]
        streams = [nvimgcodec.CodeStream(files[at]) for at in chosen]
        found = dict(zip(chosen, self._decoder.decode(streams, params=self._params) if chosen else [], strict=True))
        return [found.get(at) for at in range(len(files))]


def takes(file: bytes, header: Image.Image) -> bool:
    """Whether a file is a whole JPEG, gray or YCbCr, not too large, and its orientation is that of its EXIF."""
    return (
        header.format in ("JPEG", "MPO")
        and header.mode in ("L", "RGB")
        and _is_ycc(header)
        and header.width * header.height <= _MAX_PIXELS
        and file.endswith(_END)
        and _orientation_is_in_exif(header)
    )


def _is_ycc(header: Image.Image) -> bool:
    """Whether three components are YCbCr, by Adobe's mark, by JFIF, or as libjpeg guesses: not if named R, G and B."""
    mark = header.info.get("adobe_transform")
    if mark is not None:
        return bool(mark == _YCC)
    names = bytes(component[0] for component in header.layer)  # type: ignore[attr-defined]
    return "jfif" in header.info or names != b"RGB"


def _orientation_is_in_exif(header: Image.Image) -> bool:
    """Pillow also takes it from XMP where EXIF has none; broken EXIF is the host's."""
    stated = Image.Exif()
    try:
        stated.load(header.info.get("exif", b""))
        return bool(stated.get(_ORIENTATION_TAG) == header.getexif().get(_ORIENTATION_TAG))
    except Exception:  # a broken block raises struct.error, SyntaxError, ...
        return False


def _probe() -> bytes:
    file = BytesIO()
    Image.new("RGB", (64, 64), (200, 100, 50)).save(file, "JPEG")
    return file.getvalue()
