"""What the libraries show to the outside, and what they need: read with the tools of the system's linker."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import device
import play_tensorrt
import pytest
import pytriton

# What every Linux with glibc has; the C++ runtime and the CUDA runtime are inside.
SYSTEM = {
    "libgcc_s.so.1",
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "ld-linux-x86-64.so.2",
}


def exported(path: Path) -> set[str]:
    """Names that the library defines for others."""
    listing = subprocess.run(
        ["nm", "--dynamic", "--defined-only", "--format=posix", path], capture_output=True, text=True, check=True
    )
    return {line.split()[0] for line in listing.stdout.splitlines()}


def needed(path: Path) -> set[str]:
    """Libraries that it asks the loader for."""
    listing = subprocess.run(["readelf", "--dynamic", path], capture_output=True, text=True, check=True)
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", listing.stdout))


@pytest.mark.parametrize("name", [play_tensorrt.TRT, play_tensorrt.TRT_SIMT])
def test_a_plugin_library_shows_two_functions_and_needs_no_tensorrt(name: str) -> None:
    path = device.built(name)
    assert exported(path) == {"getCreators", "setLoggerFinder"}
    assert needed(path) <= SYSTEM


@pytest.mark.parametrize("name", [device.HOST, device.CUDA])
def test_a_library_of_ops_shows_only_functions_of_ours(name: str) -> None:
    path = device.built(name)
    assert all(symbol.startswith("maskline_") for symbol in exported(path)), exported(path)
    assert exported(path)
    assert needed(path) <= SYSTEM


@pytest.mark.parametrize("name", [device.SIMT, device.CUDA])
def test_the_kernels_of_training_are_in_the_libraries_of_kernels(name: str) -> None:
    assert "maskline_device_multiscale_roi_align_backward" in exported(device.built(name))


def test_the_custom_ops_show_one_function_and_need_no_onnxruntime() -> None:
    path = device.custom_ops()
    assert exported(path) == {"RegisterCustomOps"}
    assert needed(path) <= SYSTEM


def test_the_backend_shows_what_triton_calls_and_asks_it_alone_for_more() -> None:
    path = device.backend()
    calls = {"Initialize", "Finalize", "ModelInitialize", "ModelFinalize", "ModelInstanceExecute"}
    assert exported(path) == {f"TRITONBACKEND_{call}" for call in calls}
    assert needed(path) <= SYSTEM
    listing = subprocess.run(["nm", "--dynamic", "--undefined-only", path], capture_output=True, text=True, check=True)
    asked = {line.split()[-1] for line in listing.stdout.splitlines()}
    assert not {name for name in asked if "Ort" in name}
    server = next((Path(pytriton.__file__).parents[1] / "nvidia_pytriton.libs").glob("libtritonserver*"))
    assert {name for name in asked if name.startswith("TRITON")} <= exported(server)


def test_the_shim_shows_nothing_and_needs_the_libnvinfer_of_its_headers() -> None:
    path = device.built(play_tensorrt.TRITON)
    assert exported(path) == set()
    (nvinfer,) = needed(path) - SYSTEM
    assert re.fullmatch(r"libnvinfer\.so\.1[01]", nvinfer)
    listing = subprocess.run(["readelf", "--dynamic", path], capture_output=True, text=True, check=True).stdout
    assert "RPATH" not in listing  # nor RUNPATH: the process brings its own libnvinfer
    assert "NODELETE" in listing
