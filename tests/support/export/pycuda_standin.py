"""As much of pycuda.driver as our code calls, in host memory; and pycuda's own binding over a driver that plays a GPU.

What the stand-in has, with the names of the arguments, is what the binding itself says: tests/unit/export/engine holds
the one against the other where pycuda is installed.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
import types
from typing import Any

import numpy as np
import pytest


class DeviceAllocation:
    """Host memory under a number."""

    def __init__(self, size: int) -> None:
        self.bytes = ctypes.create_string_buffer(size)

    def __int__(self) -> int:
        return ctypes.addressof(self.bytes)


class Event:
    """Counts the records of a stream in place of time."""

    def record(self, stream: Stream) -> Event:
        stream._clock += 1
        self.at = stream._clock
        return self

    def synchronize(self) -> Event:
        return self

    def time_since(self, event: Event) -> float:
        return float(self.at - event.at)


class Stream:
    """In order, at once."""

    handle, _clock = 7, 0


class Context:
    """The only one."""

    def push(self) -> None:
        pass

    def detach(self) -> None:
        pass


class Device:
    """The first one."""

    def __init__(self, number: int) -> None:
        assert number == 0

    def retain_primary_context(self) -> Context:
        return Context()


def init() -> None:
    """Nothing to do."""


def mem_alloc(size: int) -> DeviceAllocation:
    """New memory."""
    return DeviceAllocation(size)


def memset_d8(dest: DeviceAllocation, data: int, size: int) -> None:
    """Fill."""
    ctypes.memset(int(dest), data, size)


def memcpy_htod(dest: DeviceAllocation, src: np.ndarray) -> None:
    """To the GPU."""
    ctypes.memmove(int(dest), src.ctypes.data, src.nbytes)


def memcpy_dtoh(dest: np.ndarray, src: DeviceAllocation) -> None:
    """To the host."""
    ctypes.memmove(dest.ctypes.data, int(src), dest.nbytes)


FUNCTIONS = (init, mem_alloc, memset_d8, memcpy_htod, memcpy_dtoh)
CLASSES = (Device, Context, Stream, Event, DeviceAllocation)


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the test's end `import pycuda.driver` finds the stand-in."""
    driver = types.ModuleType("pycuda.driver")
    for item in (*FUNCTIONS, *CLASSES):
        setattr(driver, item.__name__, item)
    package: Any = types.ModuleType("pycuda")
    package.driver = driver
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)


def is_installed() -> bool:
    """Whether the package is."""
    return importlib.util.find_spec("pycuda") is not None
