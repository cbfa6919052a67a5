"""Registries that take our creators: NVIDIA's own (TensorRT for RTX), and the one the Triton shim finds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import device
import play_tensorrt
import pytest

CREATORS = {
    "maskline::MultiscaleRoIAlign version 1",
    "maskline::ProposalNMS version 1",
    "maskline::ClasswiseNMS version 1",
    "maskline::MaskRLE version 1",
}

# In a process of its own: TensorRT ends the process on some errors.
LOAD = """
import sys
import tensorrt_rtx as trt

logger = trt.Logger(trt.Logger.WARNING)
trt.Builder(logger)  # the registry logs to the logger of the first object
registry = trt.get_plugin_registry()
handle = registry.load_library(sys.argv[1])
assert handle is not None
for creator in registry.all_creators:
    if creator.plugin_namespace == "maskline":
        print(f"maskline::{creator.name} version {creator.plugin_version}")
fields = trt.PluginFieldCollection([])
assert registry.get_creator("MaskRLE", "1", "maskline").create_plugin("x", fields, trt.TensorRTPhase.BUILD) is None
registry.deregister_library(handle)
assert not [creator for creator in registry.all_creators if creator.plugin_namespace == "maskline"]
"""


@pytest.mark.skipif(sys.platform != "linux", reason="tensorrt_rtx is a Linux package")
def test_nvidias_registry_loads_the_library_and_lists_the_creators() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", LOAD, device.built(play_tensorrt.TRT)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert set(finished.stdout.split("\n")) - {""} == CREATORS
    # TensorRT for RTX is no TensorRT 10: its logger, laid out otherwise, is left alone.
    assert re.search(r"maskline: compiled for TensorRT 1\d\.\d+, loaded beside libtensorrt_rtx\.so", finished.stderr)
    assert "\nmaskline: createPlugin: MaskRLE: field max_counts: missing" in finished.stderr


def play() -> Path:
    """The stand-in for libnvinfer."""
    (found,) = (device.BUILD / "play").glob("libnvinfer.so.??")
    return found


def test_the_triton_shim_registers_when_it_is_opened() -> None:
    finished = play_tensorrt.start("shim", device.built(play_tensorrt.TRITON), play())
    assert finished.returncode == 0, finished.stderr
    assert set(finished.stdout.splitlines()) == CREATORS
    assert "[4] maskline: registered MaskRLE" in finished.stderr


def make_without_fields(**environment: str) -> str:
    """What stderr gets when a plugin is made without fields, by no engine, in a process that has a libnvinfer."""
    library = device.built(play_tensorrt.TRT)
    finished = play_tensorrt.start("create", library, "MaskRLE", "--nvinfer", play(), **environment)
    assert (finished.returncode, finished.stdout) == (1, "")
    return finished.stderr


def test_what_no_engine_asked_for_is_logged_by_tensorrts_own_logger() -> None:
    line = "maskline: createPlugin: MaskRLE: field max_counts: missing, expected one int"
    assert make_without_fields().startswith(f"[1] {line}")  # the mark is the stand-in's
    # A logger of another major version is laid out otherwise: it is not called.
    note, *lines = make_without_fields(MASKLINE_PLAY_MAJOR="99").splitlines()
    assert "loaded beside libnvinfer.so" in note
    assert "rebuild it with the headers of that TensorRT" in note
    assert [text[: len(line)] for text in lines] == [line]


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("refuse", "[1] maskline: TensorRT refuses to register MaskRLE: is it registered already?"),
        ("none", "[1] maskline: TensorRT has no plugin registry; the plugins of the engine will be missing"),
    ],
)
def test_the_triton_shim_logs_that_it_could_not_register(mode: str, text: str) -> None:
    finished = play_tensorrt.start("shim", device.built(play_tensorrt.TRITON), play(), MASKLINE_PLAY_REGISTRY=mode)
    assert finished.returncode == 1
    assert text in finished.stderr


def test_the_triton_shim_says_where_it_looked_for_the_plugins(tmp_path: Path) -> None:
    shim = tmp_path / play_tensorrt.TRITON
    shim.write_bytes(device.built(play_tensorrt.TRITON).read_bytes())
    finished = play_tensorrt.start("shim", shim, play())
    assert finished.returncode == 1
    assert f"[1] maskline: cannot open {tmp_path}/{play_tensorrt.TRT}: " in finished.stderr
