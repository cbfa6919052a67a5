"""Other frameworks' weights: pickles with edited steps run nothing, write nothing and take no room that they claim.

The archive is packed anew around the edited pickle, so that its checksums are right.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from atheris import FuzzedDataProvider
from fuzz.edits import edited_bytes
from fuzz.oracle import judged
from maskline_train.convert.reading.foreign_file import read_foreign

_NAMES = tuple(f"part.{index}.weight" for index in range(9))  # fewer are no state dict
# Steps that a hostile file would have; each whole, and for the reader's stack as it happens to be.
_STEPS = (
    b"cos\nsystem\n",
    b"cbuiltins\neval\n",
    b"cposix\nsystem\nX\x02\x00\x00\x00id\x85R",
    b"ctorch\nload\nX\x0b\x00\x00\x00/etc/passwd\x85R",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ccollections\nOrderedDict\n",
    b"c_codecs\nencode\n",
    b"R",
    b"b",
    b"Q",
    b"(",
    b"0",
    b"1",
    b"2",
    b"}",
    b"]",
    b")",
    b"t",
    b"d",
    b"l",
    b"s",
    b"u",
    b"a",
    b"e",
    b"\x81",
    b"\x92",
    b"\x93",
    b"N",
    b"\x88",
    b"K\x07",
    b"J\xff\xff\xff\x7f",
    b"\x8a\x09" + b"\xff" * 9,
    b"\x8b" + struct.pack("<i", 2**30),
    b"r" + struct.pack("<I", 2**31),
    b"j" + struct.pack("<I", 2**31),
    b"B" + struct.pack("<I", 2**31),
    b"\x8e" + struct.pack("<Q", 2**60),
    b"\x96" + struct.pack("<Q", 2**40),
    b"\x95" + struct.pack("<Q", 2**50),
    b"X\x04\x00\x00\x00data",
    b"G" + struct.pack(">d", float("nan")),
)


def prepare(place: Path) -> Callable[[bytes], None]:
    """The target; its file lies in `place`."""
    path = place / "weights"
    good = _good_files()
    archive = [(name, part) for name, part in _entries(good[0])]
    inner = dict(archive)["archive/data.pkl"]

    def run(data: bytes) -> None:
        choices = FuzzedDataProvider(data)
        kind = choices.ConsumeIntInRange(0, 4)
        if kind == 0:
            path.write_bytes(edited_bytes(choices.PickValueInList(good), choices))
        elif kind == 1:
            path.write_bytes(_packed(archive, _edited_steps(inner, choices), choices))
        else:
            path.write_bytes(_edited_steps(choices.PickValueInList(good[2:]), choices))
        with judged(ValueError):
            found = read_foreign(path)
            assert all(torch.isfinite(tensor).all() for tensor in found.tensors.values())

    for file in good:
        path.write_bytes(file)
        assert set(read_foreign(path).tensors) == set(_NAMES)
    return run


def _good_files() -> list[bytes]:
    """The same weights as an archive, a stream of old, two pickles of arrays, and an archive's module of many parts."""
    tensors = OrderedDict((name, torch.arange(6.0).reshape(2, 3) + index) for index, name in enumerate(_NAMES))
    files = []
    for is_zip in (True, False):
        file = io.BytesIO()
        torch.save({"model": tensors, "epoch": 3}, file, _use_new_zipfile_serialization=is_zip)
        files.append(file.getvalue())
    arrays = {name: np.asarray(tensor) for name, tensor in tensors.items()}
    files += [pickle.dumps({"model": arrays, "__author__": "x"}, protocol=protocol) for protocol in (2, 5)]
    return files


def _entries(archive: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return [(entry.filename, opened.read(entry)) for entry in opened.infolist()]


def _packed(entries: list[tuple[str, bytes]], inner: bytes, choices: FuzzedDataProvider) -> bytes:
    """The archive with another pickle in it, seldom compressed or with an entry left out."""
    way = zipfile.ZIP_DEFLATED if choices.ConsumeIntInRange(0, 9) == 1 else zipfile.ZIP_STORED
    left_out = choices.ConsumeIntInRange(0, 10 * len(entries))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", way) as opened:
        for index, (name, part) in enumerate(entries):
            if index != left_out:
                opened.writestr(name, inner if name.endswith("data.pkl") else part)
    return file.getvalue()


def _edited_steps(stream: bytes, choices: FuzzedDataProvider) -> bytes:
    """A pickle with some of its steps taken out, doubled, moved, or hostile ones between them."""
    try:
        places = [place for _, _, place in pickletools.genops(stream)]
    except ValueError:  # what follows the first pickle of a stream of old is none
        places = [0]
    steps = [stream[start:end] for start, end in zip(places, [*places[1:], len(stream)], strict=True)]
    for _ in range(choices.ConsumeIntInRange(0, 6)):
        at = choices.ConsumeIntInRange(0, len(steps))
        way = choices.ConsumeIntInRange(0, 3)
        if way == 0:
            del steps[at : at + 1]
        elif way == 1:
            steps[at:at] = steps[at : at + choices.ConsumeIntInRange(1, 8)]
        else:
            steps.insert(at, choices.PickValueInList(list(_STEPS)))
    return b"".join(steps)
