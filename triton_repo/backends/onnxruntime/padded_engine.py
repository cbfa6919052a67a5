"""Runs requests in batches of a few sizes only, where the sessions compute; the same on a CPU and on a GPU.

A GPU's convolutions are planned anew for each shape, so a batch is filled up to the next size that was warmed up. Its
first image fills it up: one that just failed, whose rows may still lie there, must not make others fail.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import batch_sizes
import numpy as np
from device_memory import Block, CudaMemory, HostMemory, Memory
from device_tensors import Tensor
from onnx_session import Session, load, on_gpu, on_the_cpu, together

Feed = Mapping[str, Tensor]  # one request's inputs
Dims = Mapping[str, Sequence[int]]  # input -> dims for one image
WARM_UP = "warm_up"  # the parameter with the dims of all inputs on each canvas, a JSON list
_DTYPES = {
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(float16)": np.float16,
    "tensor(float)": np.float32,
}


def load_engine(
    file: Path, config: dict[str, Any], card: int, say: Callable[[str], None] = lambda line: None
) -> PaddedEngine:
    """The engine of a model whose config.pbtxt (as Triton's JSON) has the parameter `batch_sizes`, warmed up.

    Args:
        file: the model.
        config: its config.pbtxt.
        card: number of the GPU, where the config asks for one.
        say: called with a line about what runs our ops, what a GPU leaves to the CPU, and the warm-up.

    Raises:
        ValueError: the model, a parameter or the machine will not do; the text says what.
    """
    canvases = warm_up_canvases(config)
    sessions = batch_sizes.sessions(config, lambda: load(file, config, say, card))
    if on_gpu(config) and (left := on_the_cpu(next(iter(sessions.values())))):
        say(left)
    memory: Memory = CudaMemory(card) if on_gpu(config) else HostMemory()
    engine = PaddedEngine(sessions, [entry["name"] for entry in config["output"]], memory)
    engine.warm_up(canvases, say)
    return engine


def warm_up_canvases(config: dict[str, Any]) -> list[Dims]:
    """What the parameter `warm_up` says; ValueError where it is no such list."""
    text = config.get("parameters", {}).get(WARM_UP, {}).get("string_value", "")
    try:
        return [{name: [int(side) for side in dims] for name, dims in each.items()} for each in json.loads(text)]
    except (ValueError, TypeError, AttributeError):
        raise ValueError(
            f"config.pbtxt: parameter {WARM_UP}: got {text[:100]!r}, expected the dims of each input on each canvas, "
            "as `maskline-serve assemble` writes them"
        ) from None


class PaddedEngine:
    """A model's sessions and the memory of their inputs; for one thread.

    Attributes:
        memory: where the sessions compute.
        input_names: of the model.
        output_names: which outputs, in the order in which they are given.
    """

    def __init__(self, sessions: Mapping[int, Session], outputs: Sequence[str], memory: Memory) -> None:
        """Take over loaded sessions.

        Args:
            sessions: the batch sizes that are run, ascending, and the session for each: one for all, or one each.
            outputs: which outputs, in the order wanted.
            memory: where the sessions compute.
        """
        self._sessions, self.memory, self.output_names = dict(sessions), memory, list(outputs)
        first = next(iter(self._sessions.values()))
        found = (*first.get_inputs(), *first.get_outputs())
        self._dtypes = {value.name: np.dtype(_DTYPES[value.type]) for value in found if value.type in _DTYPES}
        self.input_names = [value.name for value in first.get_inputs()]
        self._blocks: dict[str, Block] = {}

    def warm_up(self, canvases: Sequence[Dims], say: Callable[[str], None] = lambda line: None) -> None:
        """Run every size on every canvas, so that no request pays for the first time.

        Args:
            canvases: for each canvas the dims of all inputs.
            say: called with one line about it.

        Raises:
            ValueError: a run failed; the text says which.
        """
        start = time.perf_counter()
        for dims in canvases:
            for size in reversed(self._sessions):  # the largest first: memory is taken once
                given = {name: self._room(name, (size, *map(int, dims[name]))) for name in self.input_names}
                self.memory.wait()  # new memory is set to zero by then
                try:
                    self._run(size, given)
                except Exception as error:  # ONNX Runtime's own exceptions share no base class below Exception
                    raise ValueError(f"warm-up: a batch of {size} of {dict(dims)}: {error}") from error
        seconds = time.perf_counter() - start
        sizes = ", ".join(map(str, self._sessions))
        say(f"warmed up {len(canvases)} canvases in batches of {sizes} on {self.memory.device}: {seconds:.1f} s")

    def run(self, feeds: Sequence[Feed]) -> list[list[Tensor] | Exception]:
        """`together`: for each request its outputs, or the exception of its run."""
        return together(feeds, self._run_group)

    def _run_group(self, feeds: Sequence[Feed]) -> list[list[Tensor]]:
        """One joint run, split again."""
        counts = [next(iter(feed.values())).shape[0] for feed in feeds]
        found = self._run_padded(feeds, counts)
        ends = np.cumsum(counts).tolist()
        return [[tensor.rows(end - count, end) for tensor in found] for count, end in zip(counts, ends, strict=True)]

    def _run_padded(self, feeds: Sequence[Feed], counts: Sequence[int]) -> list[Tensor]:
        """The outputs of all feeds, one after the other, and of the rows that fill the batch up."""
        total = sum(counts)
        size = next((size for size in self._sessions if size >= total), None)
        if size is None:
            raise ValueError(f"got {total} images in one batch, expected at most {max(self._sessions)}")
        given = {name: self._joint(name, [feed[name] for feed in feeds], size) for name in self.input_names}
        self.memory.wait()
        return self._run(size, given)

    def _joint(self, name: str, parts: Sequence[Tensor], size: int) -> Tensor:
        """An input of the whole batch: the request's own tensor where it will do, else a copy of all."""
        first = parts[0]
        if first.dtype != self._dtypes[name]:
            raise ValueError(f"input {name}: got {first.dtype}, expected {self._dtypes[name]}")
        if len(parts) == 1 and first.shape[0] == size and first.card == self.memory.card:
            return first
        room = self._room(name, (size, *first.shape[1:]))
        filling = [first.rows(0, 1)] * (size - sum(part.shape[0] for part in parts))
        at = 0
        for part in (*parts, *filling):
            self.memory.put(self._blocks[name], at, part)
            at += part.size_bytes
        return room

    def _room(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """The memory of an input, taken anew where it is too small."""
        room = Tensor(0, shape, self._dtypes[name], self.memory.card, None)
        block = self._blocks.get(name)
        if block is None or block.size_bytes < room.size_bytes:
            self._blocks.pop(name, None)  # before the larger one is taken
            block = self._blocks[name] = self.memory.allocate(room.size_bytes)
        return dataclasses.replace(room, address=block.address, owner=block)

    def _run(self, size: int, given: Mapping[str, Tensor]) -> list[Tensor]:
        """One run; the outputs are there when it returns, in memory of ONNX Runtime's own."""
        device, card = self.memory.device, max(self.memory.card, 0)
        binding = self._sessions[size].io_binding()
        for name, tensor in given.items():
            binding.bind_input(name, device, card, tensor.dtype, list(tensor.shape), tensor.address)
        for name in self.output_names:
            binding.bind_output(name, device, card)
        self._sessions[size].run_with_iobinding(binding)
        binding.synchronize_outputs()
        values = dict(zip(self.output_names, binding.get_outputs(), strict=True))
        return [
            Tensor(value.data_ptr(), tuple(value.shape()), self._dtypes[name], self.memory.card, value)
            for name, value in values.items()
        ]
