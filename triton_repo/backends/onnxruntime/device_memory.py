"""Memory in which a session finds its inputs and leaves its outputs: of the host, or of a GPU by CUDA's own runtime.

The runtime is the one that ONNX Runtime's provider for CUDA has loaded, so nothing is needed beside it: no PyTorch, no
CuPy. What comes from the host goes through pinned memory, from which the card fetches it by itself.
"""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from device_tensors import HOST, Tensor, array_of, to_dlpack

_DEFAULT_DIRECTION = 4  # cudaMemcpyDefault: by the addresses, from card to card too


class Memory(Protocol):
    """One place where sessions compute.

    Attributes:
        device: ONNX Runtime's name of it.
        card: number of the GPU, or HOST.
    """

    device: str
    card: int

    def allocate(self, size_bytes: int) -> Block:
        """New memory, all zero; it is let go of with the block."""

    def put(self, block: Block, at: int, source: Tensor) -> None:
        """Begin to copy a tensor, from wherever it lies, to a place in a block."""

    def wait(self) -> None:
        """Until every copy has ended."""

    def hand_over(self, name: str, tensor: Tensor, utils: Any) -> Any:
        """A tensor for Triton's Python backend; `utils` is its module. The memory may be written again after that."""


class Block:
    """Memory of one place, with an address."""

    address: int
    size_bytes: int


class HostBlock(Block):
    """Of the host."""

    def __init__(self, size_bytes: int) -> None:
        self._array = np.zeros(size_bytes, np.uint8)
        self.address, self.size_bytes = self._array.ctypes.data, size_bytes


class HostMemory:
    """For sessions on the CPU."""

    device, card = "cpu", HOST

    def allocate(self, size_bytes: int) -> Block:
        """As Memory."""
        return HostBlock(size_bytes)

    def put(self, block: Block, at: int, source: Tensor) -> None:
        """As Memory."""
        ctypes.memmove(block.address + at, source.address, source.size_bytes)

    def wait(self) -> None:
        """Copies of the host have ended when they return."""

    def hand_over(self, name: str, tensor: Tensor, utils: Any) -> Any:
        """As Memory."""
        return utils.Tensor(name, array_of(tensor))


class CudaBlock(Block):
    """Of a GPU, and as much pinned memory of the host where something comes from there."""

    def __init__(self, cuda: Cuda, size_bytes: int) -> None:
        self._cuda, self._pinned, self.address = cuda, 0, 0
        self.size_bytes, self.address = size_bytes, cuda.malloc(size_bytes)

    def pinned(self) -> int:
        """Address of the pinned memory."""
        self._pinned = self._pinned or self._cuda.malloc_host(self.size_bytes)
        return self._pinned

    def __del__(self) -> None:
        """Let go of both."""
        self._cuda.free(self.address)
        if self._pinned:
            self._cuda.free_host(self._pinned)


class CudaMemory:
    """For sessions on a GPU."""

    device = "cuda"

    def __init__(self, card: int) -> None:
        """Raise ValueError where there is no such card."""
        self.card, self._cuda = card, Cuda()
        self._cuda.set_device(card)

    def allocate(self, size_bytes: int) -> Block:
        """As Memory."""
        return CudaBlock(self._cuda, size_bytes)

    def put(self, block: Block, at: int, source: Tensor) -> None:
        """As Memory."""
        address = source.address
        if source.card == HOST:
            assert isinstance(block, CudaBlock)
            address = block.pinned() + at
            ctypes.memmove(address, source.address, source.size_bytes)
        self._cuda.copy(block.address + at, address, source.size_bytes)

    def wait(self) -> None:
        """As Memory."""
        self._cuda.wait()

    def hand_over(self, name: str, tensor: Tensor, utils: Any) -> Any:
        """As Memory: Triton copies before the next call, on the card."""
        return utils.Tensor.from_dlpack(name, to_dlpack(tensor))


class Cuda:
    """The functions of CUDA's runtime that are used, each ValueError where it fails."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(str(_loaded_runtime()))
        self._library.cudaGetErrorString.restype = ctypes.c_char_p

    def set_device(self, card: int) -> None:
        """The card that this thread's calls are for."""
        self._call("cudaSetDevice", card)

    def malloc(self, size_bytes: int) -> int:
        """Address of new memory on the card, all zero."""
        found = ctypes.c_void_p()
        self._call("cudaMalloc", ctypes.byref(found), ctypes.c_size_t(size_bytes))
        self._call("cudaMemset", found, 0, ctypes.c_size_t(size_bytes))
        return found.value or 0

    def malloc_host(self, size_bytes: int) -> int:
        """Address of new pinned memory."""
        found = ctypes.c_void_p()
        self._call("cudaMallocHost", ctypes.byref(found), ctypes.c_size_t(size_bytes))
        return found.value or 0

    def free(self, address: int) -> None:
        """Of `malloc`; what fails at the end is of no use any more."""
        self._library.cudaFree(ctypes.c_void_p(address))

    def free_host(self, address: int) -> None:
        """Of `malloc_host`."""
        self._library.cudaFreeHost(ctypes.c_void_p(address))

    def copy(self, target: int, source: int, size_bytes: int) -> None:
        """Begin a copy, on the default stream."""
        size, direction, stream = ctypes.c_size_t(size_bytes), _DEFAULT_DIRECTION, ctypes.c_void_p()
        self._call("cudaMemcpyAsync", ctypes.c_void_p(target), ctypes.c_void_p(source), size, direction, stream)

    def wait(self) -> None:
        """For the default stream."""
        self._call("cudaStreamSynchronize", ctypes.c_void_p())

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status != 0:
            said = self._library.cudaGetErrorString(status).decode()
            raise ValueError(f"{name}: got status {status}, {said}; `nvidia-smi` says what is on the card")


def _loaded_runtime() -> Path:
    """The file of CUDA's runtime that is loaded in this process; ValueError where none is."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    found = re.search(r"(/\S*/libcudart[^/\s]*\.so[^/\s]*)$", maps, re.MULTILINE)
    if found is None:
        raise ValueError("got no libcudart in this process, expected the one of ONNX Runtime's provider for CUDA")
    return Path(found[1])
