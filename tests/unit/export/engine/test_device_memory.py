"""Memory on the GPU: what goes there comes back. On a GPU where one is; else by pycuda's own binding over a driver that
plays one (`make test-pycuda`), and on a stand-in for both in host memory.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from maskline_bench.owed.by_pycuda import PLAYED_DRIVER, played_driver
from maskline_export.engine.device_memory import DeviceMemory
from maskline_export.engine.tensorrt_module import first_gpu
from maskline_export.errors import EngineBuildError
from support.export import pycuda_standin

HAS_GPU = first_gpu() is not None
INSTALLED = pycuda_standin.is_installed()
DRIVER = Path(__file__).parents[4] / "build" / "plugins" / PLAYED_DRIVER
needs_pycuda = pytest.mark.skipif(not INSTALLED, reason="the package pycuda is not installed: `make test-pycuda`")
over_played_driver = pytest.mark.skipif(HAS_GPU, reason="a GPU is here, whose own driver is what is tested")
on_gpu = pytest.mark.skipif(not HAS_GPU, reason="no GPU is here")


@pytest.fixture(
    params=[
        "stand-in",
        pytest.param("played driver", marks=[needs_pycuda, over_played_driver]),
        pytest.param("gpu", marks=[pytest.mark.gpu, needs_pycuda, on_gpu]),
    ]
)
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> DeviceMemory:
    if request.param == "stand-in":
        pycuda_standin.install(monkeypatch)
    if request.param == "played driver":
        with played_driver(DRIVER):
            return DeviceMemory()
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


@needs_pycuda
@over_played_driver
def test_the_binding_takes_what_is_given() -> None:
    """Each call of ours is one of the stand-in's functions and methods; the binding says its own arguments."""
    with played_driver(DRIVER):
        import pycuda.driver as cuda
    for function in pycuda_standin.FUNCTIONS:
        named = re.findall(r"\(\w+\)(\w+)", getattr(cuda, function.__name__).__doc__.strip().splitlines()[0])
        ours = list(inspect.signature(function).parameters)
        assert named[: len(ours)] == ours or function is pycuda_standin.mem_alloc, function  # its argument has no name
    for kind in pycuda_standin.CLASSES:
        public = [name for name in vars(kind) if not name.startswith("_") or name == "__int__"]
        assert public
        assert all(hasattr(getattr(cuda, kind.__name__), name) for name in public), kind


@needs_pycuda
@over_played_driver
def test_the_process_ends_in_silence_with_contexts_that_are_current() -> None:
    """pycuda's own end is another: a word on stderr, abort(), or a call that no driver takes for a primary context."""
    code = (
        "import sys, numpy; from pathlib import Path; from maskline_bench.owed.by_pycuda import played_driver\n"
        "from maskline_export.engine.device_memory import DeviceMemory\n"
        "with played_driver(Path(sys.argv[1])): first, second = DeviceMemory(), DeviceMemory()\n"
        "kept = [each.upload(numpy.ones(3), 'FP32') for each in (first, second, first)]\n"
        "print(kept[2].address > 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(DRIVER)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_a_library_that_pycuda_lacks_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "driver.py").write_text("raise ImportError('libcuda.so.1: cannot open shared object file')")
    package = types.ModuleType("pycuda")
    package.__path__ = [str(tmp_path)]
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.delitem(sys.modules, "pycuda.driver", raising=False)
    with pytest.raises(EngineBuildError, match=r"^pycuda cannot be loaded \(libcuda.so.1: cannot .*compile it again"):
        DeviceMemory()


@pytest.mark.skipif(INSTALLED, reason="the package pycuda is installed")
def test_without_pycuda_it_says_what_to_install() -> None:
    with pytest.raises(EngineBuildError, match=r"pycuda is not installed.*`pip install pycuda`"):
        DeviceMemory()
