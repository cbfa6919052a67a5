"""Shared memory that client and server both see: a canvas is written there, and only its place is sent."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy.typing as npt
from tritonclient.utils import InferenceServerException

from maskline_client.bench.settings import Memory
from maskline_client.errors import ClientError

_IN_USE = "currently in use"  # what the server says
_LETS_GO_S = 10.0
_numbers = itertools.count()  # names of this process


class Region(Protocol):
    """A piece of memory that the server knows by a name."""

    name: str

    def write(self, array: npt.NDArray[Any]) -> None:
        """Copy an array to its beginning."""

    def close(self) -> None:
        """Let server and client forget it."""


def open_region(kind: Memory, client: Any, size: int) -> Region | None:
    """A region of `size` bytes; None for plain messages.

    Raises:
        ClientError: this machine has no such memory, or the server does not take it.
    """
    if kind is Memory.PLAIN:
        return None
    try:
        return SystemRegion(client, size) if kind is Memory.SYSTEM else CudaRegion(client, size)
    except InferenceServerException as error:
        raise ClientError(
            f"--memory {kind}: the server refuses it: {error.message()}; it takes memory of its own machine alone, one "
            "of `maskline-serve run` only with --shared-memory, releases since 26.05 only with --allow-client-shm"
        ) from error
    except (
        Exception
    ) as error:  # tritonclient's classes of errors have no common base, and CUDA's bindings may be missing
        raise ClientError(f"--memory {kind}: {error}; it needs {_NEEDS[kind]}") from error


_NEEDS = {
    Memory.SYSTEM: "room in /dev/shm",
    Memory.CUDA: "a GPU that the server runs on, and the package cuda-python",
}


def _forgotten(unregister: Callable[[], None]) -> None:
    """Let the server forget a region; it lets go of the last request's input some time after its answer is here."""
    deadline = time.monotonic() + _LETS_GO_S
    while True:
        try:
            return unregister()
        except InferenceServerException as error:
            if _IN_USE not in str(error.message()) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _name() -> str:
    return f"maskline-bench-{os.getpid()}-{next(_numbers)}"


class _Region:
    """Memory that the client writes and the server reads, by the name under which both know it."""

    def __init__(self, shm: Any, handle: Any, register: Callable[[], None], unregister: Callable[[], None]) -> None:
        self._shm, self._handle, self._unregister = shm, handle, unregister
        try:
            register()
        except BaseException:
            shm.destroy_shared_memory_region(handle)
            raise

    def write(self, array: npt.NDArray[Any]) -> None:
        """Copy an array to its beginning."""
        self._shm.set_shared_memory_region(self._handle, [array])

    def close(self) -> None:
        """Let server and client forget it."""
        try:
            _forgotten(self._unregister)
        finally:
            self._shm.destroy_shared_memory_region(self._handle)


class SystemRegion(_Region):
    """POSIX shared memory, in /dev/shm."""

    def __init__(self, client: Any, size: int) -> None:
        import tritonclient.utils.shared_memory as shm

        self.name = _name()
        super().__init__(
            shm,
            shm.create_shared_memory_region(self.name, f"/{self.name}", size),
            lambda: client.register_system_shared_memory(self.name, f"/{self.name}", size),
            lambda: client.unregister_system_shared_memory(self.name),
        )


class CudaRegion(_Region):
    """Memory of the first GPU, by CUDA's handles between processes."""

    def __init__(self, client: Any, size: int) -> None:
        import tritonclient.utils.cuda_shared_memory as shm

        self.name = _name()
        handle = shm.create_shared_memory_region(self.name, size, 0)
        super().__init__(
            shm,
            handle,
            lambda: client.register_cuda_shared_memory(self.name, shm.get_raw_handle(handle), 0, size),
            lambda: client.unregister_cuda_shared_memory(self.name),
        )
