"""The script that shows a kernel of ours on pycuda's memory, with the emulator in the place of the kernels."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from maskline_bench.errors import BenchmarkError
from maskline_bench.owed import by_pycuda
from maskline_bench.owed.items import ITEMS
from maskline_export.engine.device_memory import DeviceMemory
from support.export import pycuda_standin

BUILD = Path(__file__).parents[3] / "build" / "plugins"
(LIMITS,) = (item.limits for item in ITEMS if item.name == "by_pycuda")


@pytest.fixture(
    params=[
        "stand-in",
        pytest.param(
            "pycuda",
            marks=pytest.mark.skipif(
                not pycuda_standin.is_installed(), reason="the package pycuda is not installed: `make test-pycuda`"
            ),
        ),
    ]
)
def binding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_pycuda, "card", lambda: None)
    if request.param == "stand-in":
        _stand_in(monkeypatch)


def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs no driver; and one that was loaded would be the driver of every later test of this process."""
    pycuda_standin.install(monkeypatch)
    monkeypatch.setattr(by_pycuda, "played_driver", lambda _: contextlib.nullcontext())


@pytest.mark.usefixtures("binding")
def test_the_kernel_in_the_emulator_agrees_with_the_host_library_in_every_type() -> None:
    found = by_pycuda.measure(BUILD, "cpu", by_pycuda.SMALL)
    assert set(found["error"]) == {"FP32", "FP16", "BF16"}
    for limit in LIMITS:
        if "launch" not in limit.what and "clock" not in limit.what:  # of time an emulator says nothing
            assert limit.holds(limit.read(found)), (limit.what, found)
    assert min(found["error"].values()) > 0  # or the host library was compared with itself


def test_what_nobody_wrote_or_what_came_back_changed_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    _stand_in(monkeypatch)
    monkeypatch.setattr(by_pycuda, "card", lambda: None)
    monkeypatch.setattr(by_pycuda.Launcher, "__call__", lambda *_: True)
    download = DeviceMemory.download
    monkeypatch.setattr(DeviceMemory, "download", lambda self, buffer: np.negative(download(self, buffer)))
    found = by_pycuda.measure(BUILD, "cpu", by_pycuda.SMALL)
    assert set(found["error"].values()) == {float("inf")}
    assert min(found["changed"].values()) > 0


def test_the_emulator_is_not_given_the_memory_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_pycuda, "card", lambda: "NVIDIA H100")
    with pytest.raises(BenchmarkError, match="--device cpu: got a GPU, whose memory the emulator cannot read"):
        by_pycuda.measure(BUILD, "cpu", by_pycuda.SMALL)
