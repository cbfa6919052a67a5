"""What PyTorch's exporter made of a stage, kept in build/tests: tests, workers and runs that export the same share it.

Exporting a stage takes seconds, nearly all of them in PyTorch's symbolic sizes. Only that step is shared: our names,
bodies, checks and files are made anew each time. `make clean` removes what is kept.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import onnx
from filelock import FileLock
from maskline_export.onnx_stages import to_onnx
from maskline_train.files import replace_file
from support import sources
from torch import nn

FOLDER = sources.ROOT / "build" / "tests" / "traces"
# States of the sources whose traces stay: a run that began before an edit may still read those of before.
GENERATIONS = 3
NOT_OURS = frozenset(vars(nn.Module()))  # attributes that every module has

Trace = Callable[[Any], onnx.ModelProto]


@contextlib.contextmanager
def kept_traces(folder: Path = FOLDER) -> Iterator[None]:
    """Within it, `export_model` and whatever calls it trace a stage only if no earlier run or worker did."""
    with mock.patch.object(to_onnx, "_trace", functools.partial(kept, to_onnx._trace, folder)):
        yield


def kept(trace: Trace, folder: Path, stage: Any) -> onnx.ModelProto:
    """The trace of a stage: read where it is kept, else made by `trace` and kept.

    Nothing is read or kept once a source file is another than when this process began: what it runs may be of before.
    """
    if sources.digest() != sources.AT_START:
        return trace(stage)
    generation = folder / sources.AT_START[:16]
    if not generation.exists():
        generation.mkdir(parents=True, exist_ok=True)
        forget_old(folder)
    file = generation / f"{key(stage)}.onnx"
    with FileLock(f"{file}.lock"):
        if file.exists():
            return onnx.load(file)
        proto = trace(stage)
        if sources.digest() == sources.AT_START:
            replace_file(file, proto.SerializeToString())
    return proto


def forget_old(folder: Path) -> None:
    """Remove the traces of all but the newest states of the sources."""
    newest_first = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for generation in newest_first[GENERATIONS:]:
        shutil.rmtree(generation, ignore_errors=True)  # another worker may do the same


def key(stage: Any) -> str:
    """Hash of all that a trace reads: tensors by name, the multiple of sides, and the network with its weights."""
    described = repr((stage.name, stage.inputs, stage.outputs, stage.multiple))
    return hashlib.sha256(described.encode() + network_digest(stage.module)).hexdigest()


def network_digest(network: nn.Module) -> bytes:
    """Hash of a network: of every module its class, its own attributes, and its tensors byte by byte."""
    seen = hashlib.sha256()
    for name, module in network.named_modules():
        own = sorted((key, value) for key, value in vars(module).items() if key not in NOT_OURS)
        text = repr((name, type(module), own))
        assert "tensor(" not in text, f"{text}: print shows few of a tensor's numbers; register it as a buffer"
        seen.update(text.encode())
        tensors = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        for tensor_name, tensor in tensors:
            seen.update(repr((tensor_name, tensor.dtype, tuple(tensor.shape))).encode())
            seen.update(tensor.detach().contiguous().numpy().tobytes())
    return seen.digest()
