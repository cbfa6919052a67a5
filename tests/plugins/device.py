"""The compiled plugin libraries, for the tests: where they are, and which devices a test can run on.

Devices: `host-generic` and `host-avx512` (libmaskline_host.so without and with vector instructions), `simt` (the
kernels in the emulator on the CPU), `cuda` (the kernels on a GPU). In ONNX Runtime: `ort-cpu` (libmaskline_ort.so on
the session's threads), `ort-cuda` (the same at its CUDA provider), `ort-simt` (what runs there, over the emulator).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from maskline_host import library

BUILD = Path(os.environ.get("MASKLINE_PLUGINS_BUILD", Path(__file__).resolve().parents[2] / "build" / "plugins"))
HOST, SIMT, CUDA = "libmaskline_host.so", "libmaskline_simt.so", "libmaskline_cuda.so"
HOSTS = ("host-generic", "host-avx512")
CUDA_ROW, ORT_CUDA_ROW = (pytest.param(where, marks=pytest.mark.gpu) for where in ("cuda", "ort-cuda"))
ORT_SIMT_ROW = pytest.param("ort-simt", marks=pytest.mark.long)  # the kernels of `simt` again; a few cases are not long
DEVICES = (*HOSTS, "simt", "ort-cpu", ORT_SIMT_ROW, CUDA_ROW, ORT_CUDA_ROW)
SIMT_SEEDS = (0, 1, 2)


def built(name: str) -> Path:
    """A file of the plugin build; a missing one is a failure, not a skip: `make pytest` builds it."""
    path = BUILD / name
    assert path.is_file(), f"{path} is missing; run `make plugins` (or `make pytest`, which builds it)"
    return path


def custom_ops(where: str = "ort-cpu") -> Path:
    """The library of custom ops for a device; skips, and says so, where the headers to build it are not."""
    path = BUILD / ("libmaskline_ort_simt.so" if where == "ort-simt" else "libmaskline_ort.so")
    if not path.is_file():
        pytest.skip(f"{path.name} is not built: ONNX Runtime's headers are not here (`make plugins` says more)")
    return path


def backend() -> Path:
    """Triton's backend in the server's process; skips as `custom_ops`."""
    path = BUILD / library.BACKEND_FILE
    if not path.is_file():
        pytest.skip(f"{path.name} is not built: ONNX Runtime's headers are not here (`make plugins` says more)")
    return path


@contextmanager
def host(device: str) -> Iterator[None]:
    """Within: the host library uses what `host-generic` or `host-avx512` says."""
    wanted = 1 if device == "host-avx512" else 0
    if library.limit_simd(wanted) != wanted:
        pytest.skip(f"{device}: this processor has no AVX-512")
    try:
        yield
    finally:
        library.limit_simd(1)


def simt(seed: int = 0) -> ctypes.CDLL:
    """The kernels on the CPU; `seed` decides in which order threads and blocks take their turns."""
    found = _load(SIMT)
    found.maskline_simt_set_seed(ctypes.c_ulonglong(seed))
    return found


def cuda() -> ctypes.CDLL:
    """The kernels on the GPU; skips, and says so, where there is none."""
    if not torch.cuda.is_available():
        pytest.skip("cuda: no GPU on this machine")
    return _load(CUDA)


def check(found: ctypes.CDLL, status: int) -> None:
    """Fail with the library's own text unless a call succeeded."""
    assert status == 0, found.maskline_last_error().decode()


def _load(name: str) -> ctypes.CDLL:
    return library.open_library(built(name))
