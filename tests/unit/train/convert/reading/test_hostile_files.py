"""Files that lie: nothing in them runs, nothing is read beyond what they hold, nothing large is made of little."""

from __future__ import annotations

import os
import pickle
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from maskline_train.convert.reading import inert
from maskline_train.convert.reading.foreign_file import read_foreign
from torch import Tensor

LITTLE = 32 << 20  # bytes: what reading a small file may take; each lie below claims ten times as much
CLAIM = 1 << 28
NAMES = tuple(f"part.{index}" for index in range(9))


def refused(path: Path, text: str) -> None:
    """In one line, and little is allocated, even if it is never written to."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=rf"^{path}: [^\n]*{text}[^\n]*$"):
            read_foreign(path)
        assert tracemalloc.get_traced_memory()[1] < LITTLE
    finally:
        tracemalloc.stop()


def pickled(tmp_path: Path, *parts: bytes) -> Path:
    path = tmp_path / "w.pkl"
    path.write_bytes(b"\x80\x05" + b"".join(parts) + b".")
    return path


def text(word: str) -> bytes:
    return pickle.BINUNICODE + struct.pack("<I", len(word)) + word.encode()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        # A memo of so many places: the reader in C makes them all.
        ((pickle.NONE, pickle.LONG_BINPUT, struct.pack("<I", CLAIM // 8)), "holds no state dict"),
        ((pickle.BYTEARRAY8, struct.pack("<Q", CLAIM)), "cannot be read"),
        ((pickle.BINBYTES8, struct.pack("<Q", CLAIM)), "cannot be read"),
        ((pickle.FRAME, struct.pack("<Q", CLAIM)), "cannot be read"),
        ((text("a" * 9), pickle.BINPERSID), "asks for 'aaaaaaaaa', which is not in it"),
    ],
)
def test_a_pickle_that_claims_more_than_it_holds(parts: tuple[bytes, ...], message: str, tmp_path: Path) -> None:
    refused(pickled(tmp_path, *parts), message)


def test_text_that_is_made_into_bytes_again_and_again(tmp_path: Path) -> None:
    """Two megabytes of text, and a thousand copies of them as bytes."""
    encode = pickle.GLOBAL + b"_codecs\nencode\n"
    once = encode + pickle.BINGET + b"\0" + text("latin1") + pickle.TUPLE2 + pickle.REDUCE
    parts = (pickle.EMPTY_LIST, text("a" * (2 << 20)), pickle.BINPUT + b"\0", pickle.POP, pickle.MARK, once * 1000)
    refused(pickled(tmp_path, *parts, pickle.APPENDS), "asks for 2097152 bytes in 'latin1'")


def test_a_key_that_takes_forever_to_hash_is_dropped(tmp_path: Path) -> None:
    """A pair of the pair before, forty times: 2^40 parts to hash."""
    key = pickle.EMPTY_TUPLE + (pickle.DUP + pickle.TUPLE2) * 40
    for content in (
        (pickle.EMPTY_DICT, key, pickle.NONE, pickle.SETITEM),
        (pickle.MARK, key, pickle.NONE, pickle.DICT),
        (pickle.EMPTY_SET, pickle.MARK, key, pickle.ADDITEMS),
        (pickle.MARK, key, pickle.FROZENSET),
    ):
        refused(pickled(tmp_path, *content), "holds no state dict")


@pytest.mark.parametrize("state", [b"N", b"}"])
def test_a_function_is_not_given_other_attributes(state: bytes, tmp_path: Path) -> None:
    attributes = pickle.EMPTY_DICT + text("__defaults__") + pickle.EMPTY_TUPLE + pickle.SETITEM
    function = pickle.GLOBAL + b"torch._utils\n_rebuild_tensor_v2\n"
    before = torch._utils._rebuild_tensor_v2.__defaults__
    refused(pickled(tmp_path, function, state, attributes, pickle.TUPLE2, pickle.BUILD), "holds no state dict")
    assert torch._utils._rebuild_tensor_v2.__defaults__ == before
    assert inert.tensor_of.__defaults__ is None


class Calls:
    """What is pickled as the call of a function."""

    def __init__(self, function: Any, *args: object) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("old", [False, True])
def test_no_call_in_a_file_is_made(old: bool, tmp_path: Path) -> None:
    command = f"touch {tmp_path}/ran"
    calls = [
        Calls(os.system, command),
        Calls(eval, f"__import__('os').system({command!r})"),
        Calls(getattr(torch._tensor, "_rebuild_from_type_v2"), os.system, str, (command,), {}),  # noqa: B009 (untyped)
        Calls(torch._utils._rebuild_parameter, Calls(os.system, command), True, OrderedDict()),
        Calls(OrderedDict, [("a", Calls(os.system, command))]),
    ]
    tensors = {name: torch.ones(2) for name in NAMES}
    torch.save({"model": tensors, "notes": calls}, tmp_path / "w", _use_new_zipfile_serialization=not old)
    assert read_foreign(tmp_path / "w").around.keys() == {"notes"}
    assert not (tmp_path / "ran").exists()


def lying(storage: Any, offset: object, size: object, stride: object) -> Any:
    """A tensor of a storage that is described so."""
    return Calls(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, OrderedDict())


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("offset", "size", "stride", "message"),
    [
        (0, (5,), (1,), r"got size \(5,\), stride \(1,\), offset 0 in 4 numbers"),
        (1, (4,), (1,), "offset 1 in 4 numbers"),
        (0, (2, 2), (3, 1), "in 4 numbers"),
        (0, (1 << 40,), (0,), "in 4 numbers"),  # the same number over and over: a copy would be of 4 TiB
        (3, (4,), (-1,), "expected as many from 0 on"),
        (-1, (4,), (1,), "expected as many from 0 on"),
        (0, (-4,), (1,), "expected as many from 0 on"),
        (0, (4,), (1, 1), "expected as many from 0 on"),
        (0, (4.0,), (1,), "expected as many from 0 on"),
        (0, None, (1,), "not iterable"),
    ],
)
def test_a_tensor_that_reaches_beyond_its_storage(
    old: bool, offset: Any, size: Any, stride: Any, message: str, tmp_path: Path
) -> None:
    tensors: dict[str, Any] = {name: torch.ones(2) for name in NAMES}
    tensors["liar"] = lying(torch.ones(4)._typed_storage(), offset, size, stride)
    torch.save(tensors, tmp_path / "w", _use_new_zipfile_serialization=not old)
    refused(tmp_path / "w", rf"weight 'liar': [^\n]*{message}")


def test_a_tensor_without_a_storage(tmp_path: Path) -> None:
    torch.save({**dict.fromkeys(NAMES, torch.ones(2)), "liar": lying("abc", 0, (3,), (1,))}, tmp_path / "w")
    refused(tmp_path / "w", "weight 'liar': it has no storage")


def test_many_names_for_one_tensor_do_not_multiply_it(tmp_path: Path) -> None:
    """2000 names for a quarter of a megabyte of float16, each of which would be a float32 of its own."""
    torch.save(dict.fromkeys(map(str, range(2000)), torch.ones(1 << 17, dtype=torch.float16)), tmp_path / "w")
    refused(tmp_path / "w", "weight '[0-9]+': the tensors up to it have more numbers than the file has bytes")


def rewritten(source: Path, path: Path, change: Any, compression: int = zipfile.ZIP_STORED) -> None:
    """The archive with other bytes in the entries of its tensors."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, change(old.read(name)) if "/data/" in name else old.read(name))


def test_a_byte_that_is_another_one_is_found_by_the_archive_s_own_sum(tmp_path: Path) -> None:
    torch.save({name: torch.full((1000,), 2.0) for name in NAMES}, tmp_path / "w")
    data = (tmp_path / "w").read_bytes()
    middle = data.index(struct.pack("<3f", 2, 2, 2)) + 2000
    (tmp_path / "w").write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    refused(tmp_path / "w", "weight 'part.0': Bad CRC-32 for file")


def test_an_archive_with_fewer_bytes_than_its_tensors_have(tmp_path: Path) -> None:
    torch.save({name: torch.full((1000,), 2.0) for name in NAMES}, tmp_path / "w")
    rewritten(tmp_path / "w", tmp_path / "short", lambda data: data[:-4])
    refused(tmp_path / "short", "weight 'part.0': its storage holds 3996 bytes, expected 4000")


def test_an_archive_that_grows_when_it_is_read(tmp_path: Path) -> None:
    torch.save({name: torch.zeros(2) for name in NAMES}, tmp_path / "w")
    rewritten(tmp_path / "w", tmp_path / "bomb", lambda data: data * (LITTLE // 8), zipfile.ZIP_DEFLATED)
    assert (tmp_path / "bomb").stat().st_size < LITTLE // 8
    refused(tmp_path / "bomb", "is compressed, which `torch.save` never does")


def array_of(state: tuple[Any, ...]) -> Any:
    """An array that is pickled with this state: version, shape, dtype, whether in Fortran's order, bytes."""

    class Array:
        def __reduce__(self) -> Any:
            return np.core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), state

    return Array()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ((1, (CLAIM,), np.dtype("f4"), False, b"1234"), r"got an array of shape \(268435456,\), float32, in 4 bytes"),
        ((1, (1 << 62, 1 << 62), np.dtype("f4"), False, b"1234"), "in 4 bytes"),
        ((1, (-1,), np.dtype("f4"), False, b"1234"), r"got an array of shape \(-1,\)"),
        ((1, (1,), np.dtype("f4"), False, [1]), "of a list, expected bytes"),
        ((1, (1,), np.dtype("f4"), False, b"12345"), "in 5 bytes"),
    ],
)
def test_an_array_that_is_not_what_it_says(state: tuple[Any, ...], message: str, tmp_path: Path) -> None:
    content = {**{name: np.ones(2) for name in NAMES}, "liar": array_of(state)}
    (tmp_path / "w").write_bytes(pickle.dumps(content))
    refused(tmp_path / "w", f"weight 'liar': [^\n]*{message}")


def deep(levels: int) -> bytes:
    return (pickle.EMPTY_DICT + text("a")) * levels + pickle.EMPTY_DICT + pickle.SETITEM * levels


def test_dicts_that_are_deep_or_shared_or_hold_themselves(tmp_path: Path) -> None:
    refused(pickled(tmp_path, deep(50_000)), "holds no state dict")
    shared: dict[str, Any] = {}
    for _ in range(100):  # two ways to each: 2^100 from the first to the last
        shared = {"a": shared, "b": shared}
    ring: dict[str, Any] = {"model": {}}
    ring["model"]["again"] = ring
    for content in (shared, ring):
        (tmp_path / "w").write_bytes(pickle.dumps(content))
        refused(tmp_path / "w", "holds no state dict")


class Module:
    """What pickles as a module does."""

    def __init__(self, **state: object) -> None:
        self.__dict__.update(state)


def test_modules_that_are_none(tmp_path: Path) -> None:
    parameters: dict[str, Tensor] = {name: torch.ones(2) for name in NAMES}
    ring = Module(_parameters=parameters, _modules={})
    ring.__dict__["_modules"]["again"] = ring
    tree = Module(_parameters=parameters)
    for _ in range(60):
        tree = Module(_modules={"a": tree, "b": tree})
    for odd, message in (
        (Module(_parameters=[1, 2], _buffers="words", _modules=7), "holds no state dict"),
        (ring, "holds a module of more than 20000 parts"),
        (tree, "holds a module of more than 20000 parts"),
    ):
        torch.save(odd, tmp_path / "w")
        refused(tmp_path / "w", message)
