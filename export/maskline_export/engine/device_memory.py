"""Memory, a stream and a clock on the first GPU by pycuda, so that running engines needs no torch.

Numpy has no bfloat16: such a tensor is float32 on our side and its upper 16 bits, rounded to even, on the GPU.
"""

from __future__ import annotations

import atexit
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from maskline_export.errors import EngineBuildError
from maskline_export.precision.low_types import BF16

Array = npt.NDArray[np.generic]

_DTYPES: dict[str, type[np.generic]] = {  # a wire type as it lies in memory
    "UINT8": np.uint8,
    "INT32": np.int32,
    "FP32": np.float32,
    "FP16": np.float16,
    "BF16": np.uint16,
}
_UNWRITTEN = 0xFF  # every byte of a new buffer: NaN or -1 shows where an engine wrote nothing


@dataclasses.dataclass(frozen=True)
class Buffer:
    """A tensor on the GPU.

    Attributes:
        memory: pycuda's allocation, freed with this object.
        shape: of the tensor.
        dtype: as Triton writes it.
    """

    memory: Any
    shape: tuple[int, ...]
    dtype: str

    @property
    def address(self) -> int:
        """On the GPU."""
        return int(self.memory)


class DeviceMemory:
    """The first GPU's primary context, current in the thread that made this to the end, and a stream of its own.

    Copies and fills go by the default stream, for which this one waits, and which waits for it.

    Raises:
        EngineBuildError: pycuda is not installed, or cannot be loaded here.
    """

    def __init__(self) -> None:
        try:
            import pycuda.driver as cuda
        except ModuleNotFoundError as error:
            raise EngineBuildError(
                "pycuda is not installed, which running engines needs: `pip install pycuda`, which compiles it with "
                "this machine's CUDA toolkit"
            ) from error
        except ImportError as error:  # of a library that it is linked to, such as the driver's
            raise EngineBuildError(
                f"pycuda cannot be loaded ({error}); expected the NVIDIA driver and what it was compiled with: compile "
                "it again here, `pip install --force-reinstall --no-cache-dir --no-deps pycuda`"
            ) from error
        self._cuda = cuda
        cuda.init()
        self._context = cuda.Device(0).retain_primary_context()  # the one that TensorRT and libraries of kernels use
        self._context.push()
        # Left to itself pycuda ends the process by abort() where a context is still current, and where it is not by
        # cuCtxDetach, which is not for a primary one.
        atexit.register(self._context.detach)
        self._stream = cuda.Stream()

    @property
    def stream(self) -> int:
        """The stream's handle."""
        return int(self._stream.handle)

    def upload(self, array: Array, dtype: str) -> Buffer:
        """A copy of an array, rounded to the wire type."""
        wide = np.ascontiguousarray(array)
        found = BF16.bits(wide.astype(np.float32)) if dtype == "BF16" else wide.astype(_DTYPES[dtype], copy=False)
        buffer = self.empty(found.shape, dtype)
        if found.size:
            self._cuda.memcpy_htod(buffer.memory, found)
        return buffer

    def empty(self, shape: tuple[int, ...], dtype: str) -> Buffer:
        """A new tensor of no meaning."""
        size = max(1, math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize)
        memory = self._cuda.mem_alloc(size)
        self._cuda.memset_d8(memory, _UNWRITTEN, size)
        return Buffer(memory, tuple(shape), dtype)

    def download(self, buffer: Buffer) -> Array:
        """The tensor on the host; 16-bit floats as float32."""
        found = np.empty(buffer.shape, _DTYPES[buffer.dtype])
        if found.size:
            self._cuda.memcpy_dtoh(found, buffer.memory)
        if buffer.dtype == "BF16":
            return (found.astype(np.uint32) << 16).view(np.float32)
        return found.astype(np.float32) if buffer.dtype == "FP16" else found

    def timed(self, enqueue: Callable[[], bool]) -> tuple[bool, float]:
        """What `enqueue` says, and how many ms the stream then worked; it waits for the stream."""
        start, end = self._cuda.Event(), self._cuda.Event()
        start.record(self._stream)
        said = enqueue()
        end.record(self._stream)
        end.synchronize()
        return said, float(end.time_since(start))
