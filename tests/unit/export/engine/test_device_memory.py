"""Memory on the GPU: what goes there comes back; on a GPU where one is, else on a stand-in in host memory."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
import types

import numpy as np
import pytest
from maskline_export.engine.device_memory import DeviceMemory
from maskline_export.errors import EngineBuildError


class Allocation:
    """Host memory under a number, as pycuda's DeviceAllocation."""

    def __init__(self, size: int) -> None:
        self.bytes = ctypes.create_string_buffer(size)

    def __int__(self) -> int:
        return ctypes.addressof(self.bytes)


class Event:
    """Counts the records of a stream in place of time."""

    def record(self, stream: Stream) -> None:
        stream.clock += 1
        self.at = stream.clock

    def synchronize(self) -> None:
        pass

    def time_since(self, other: Event) -> float:
        return float(self.at - other.at)


class Stream:
    handle, clock = 7, 0


def standin() -> types.ModuleType:
    """As much of pycuda.driver as is called."""
    driver = types.ModuleType("pycuda.driver")
    context = types.SimpleNamespace(push=lambda: None, pop=lambda: None)
    driver.init = lambda: None
    driver.Device = lambda number: types.SimpleNamespace(retain_primary_context=lambda: context)
    driver.Stream, driver.Event, driver.mem_alloc = Stream, Event, Allocation
    driver.memset_d8 = lambda to, byte, count: ctypes.memset(int(to), byte, count)
    driver.memcpy_htod = lambda to, array: ctypes.memmove(int(to), array.ctypes.data, array.nbytes)
    driver.memcpy_dtoh = lambda array, source: ctypes.memmove(array.ctypes.data, int(source), array.nbytes)
    return driver


@pytest.fixture(params=["stand-in", pytest.param("gpu", marks=pytest.mark.gpu)])
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> DeviceMemory:
    if request.param == "gpu":
        if importlib.util.find_spec("pycuda") is None:
            pytest.skip("the package pycuda is not installed; on a machine with a GPU: pip install pycuda")
    else:
        driver = standin()
        package = types.ModuleType("pycuda")
        package.driver = driver
        monkeypatch.setitem(sys.modules, "pycuda", package)
        monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
    return DeviceMemory()


@pytest.mark.parametrize(
    ("dtype", "values", "back"),
    [
        ("UINT8", [0, 255], [0, 255]),
        ("INT32", [-1, 2**31 - 1], [-1, 2**31 - 1]),
        ("FP32", [1 / 3, -0.0], [np.float32(1 / 3), -0.0]),
        ("FP16", [1 / 3, 70000.0], [0.333251953125, np.inf]),  # 2^-11 of rounding; beyond the largest number
        ("BF16", [1 / 3, 1.00390625], [0.333984375, 1.0]),  # 2^-8; a tie goes to even
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_a_tensor_comes_back_rounded_to_its_type(gpu: DeviceMemory, dtype: str, values: list, back: list) -> None:
    kind = {"UINT8": np.uint8, "INT32": np.int32}.get(dtype, np.float32)
    sent = np.array([values], kind)
    found = gpu.download(gpu.upload(sent, dtype))
    assert (found.dtype, found.shape) == (kind, (1, 2))
    assert found.tolist() == [[pytest.approx(value, abs=0) for value in back]]


def test_what_nobody_wrote_shows(gpu: DeviceMemory) -> None:
    assert np.isnan(gpu.download(gpu.empty((2, 3), "FP16"))).all()
    assert np.isnan(gpu.download(gpu.empty((2, 3), "BF16"))).all()
    assert (gpu.download(gpu.empty((4,), "INT32")) == -1).all()
    assert gpu.download(gpu.empty((0, 4), "FP32")).shape == (0, 4)


def test_a_call_is_timed_between_two_events_of_the_stream(gpu: DeviceMemory) -> None:
    said, milliseconds = gpu.timed(lambda: True)
    assert said
    assert milliseconds >= 0


@pytest.mark.skipif(importlib.util.find_spec("pycuda") is not None, reason="the package pycuda is installed")
def test_without_pycuda_it_says_what_to_install() -> None:
    with pytest.raises(EngineBuildError, match=r"pycuda is not installed.*`pip install pycuda`"):
        DeviceMemory()
