"""The kernels of libmaskline_cuda.so on PyTorch's tensors: addresses, torch's current stream, memory from torch.

Nothing here waits for the GPU, and all of it can be captured in a CUDA graph.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from maskline_host import HostLibraryError
from maskline_host.library import CUDA_FILE, cuda_path, open_library
from torch import Tensor

_WORKSPACE_BYTES = 256  # to which the address of a workspace is rounded up
_VECTOR_BYTES = 16  # that a kernel reads at once


class Kernels:
    """A library of kernels."""

    def __init__(self, file: Path) -> None:
        """Load it.

        Raises:
            HostLibraryError: it cannot be loaded or is of another build.
        """
        self._library = open_library(file)

    def call(self, name: str, config: ctypes.Structure, arguments: Sequence[Any], device: torch.device) -> None:
        """Queue an op on the current stream of a device.

        Args:
            name: behind `maskline_device_`.
            config: the op's struct.
            arguments: the C function's between struct and stream: a tensor on the device, which is contiguous in the
                layout that the struct says; a list of such, one a level; or None.
            device: of all tensors.

        Raises:
            HostLibraryError: the library refuses, with its text.
        """
        function = getattr(self._library, f"maskline_device_{name}")
        on_gpu = device.type == "cuda"  # the emulator of plugins/testing has these functions, too, on host memory
        with torch.cuda.device(device) if on_gpu else contextlib.nullcontext():
            stream = torch.cuda.current_stream(device).cuda_stream if on_gpu else None
            self._check(function(ctypes.byref(config), *map(_address, arguments), ctypes.c_void_p(stream)))

    def workspace(self, name: str, config: ctypes.Structure, device: torch.device) -> Tensor:
        """Device memory of the size that an op wants, uint8."""
        size = ctypes.c_size_t()
        function = getattr(self._library, f"maskline_device_{name}_workspace")
        self._check(function(ctypes.byref(config), ctypes.byref(size)))
        memory = torch.empty(size.value + _WORKSPACE_BYTES, dtype=torch.uint8, device=device)
        return memory[-memory.data_ptr() % _WORKSPACE_BYTES :]

    def _check(self, status: int) -> None:
        if status != 0:
            raise HostLibraryError(self._library.maskline_last_error().decode())


def kernels_for(device: torch.device) -> Kernels | None:
    """The kernels for tensors of a device; None where PyTorch's own operators have to do.

    Raises:
        HostLibraryError: the library is of another build.
    """
    return _installed() if device.type == "cuda" else None


def in_layout(tensor: Tensor, layout: torch.memory_format = torch.contiguous_format) -> Tensor:
    """The tensor as the kernels read it: contiguous in a layout, at an address of 16 bytes; copied where it is not."""
    tensor = tensor.contiguous(memory_format=layout)
    return tensor if tensor.data_ptr() % _VECTOR_BYTES == 0 else tensor.clone()


def _address(argument: Tensor | Sequence[Tensor] | None) -> Any:
    if argument is None:
        return ctypes.c_void_p(None)
    if isinstance(argument, Tensor):
        return ctypes.c_void_p(argument.data_ptr())
    return (ctypes.c_void_p * len(argument))(*(tensor.data_ptr() for tensor in argument))


@functools.cache
def _installed() -> Kernels | None:
    """The library, looked for once a process."""
    file = cuda_path()
    if file is None:
        warnings.warn(
            f"{CUDA_FILE}: not found beside libmaskline_host.so; RoIAlign, proposals and mask targets run by PyTorch's "
            "own operators, slower; build it by `make plugins`",
            stacklevel=3,
        )
        return None
    return Kernels(file)
