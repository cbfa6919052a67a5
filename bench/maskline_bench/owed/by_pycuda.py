"""What engines run on, without an engine: our memory, stream and events by pycuda under a kernel of ours.

MultiscaleRoIAlign of libmaskline_cuda.so reads and writes buffers of `DeviceMemory` on its stream, in each type that
features travel in, and is compared with the host library.

Letters: L levels, R boxes, C channels, P pooled side.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from maskline_export.engine.device_memory import Buffer, DeviceMemory
from maskline_export.errors import EngineBuildError
from maskline_host import roi_align
from maskline_host.library import CUDA_FILE, open_library

from maskline_bench.device_ops.library import EMULATOR_FILE
from maskline_bench.errors import BenchmarkError, in_one_line, refusals_told
from maskline_bench.owed.machine import card
from maskline_bench.owed.task import Device, head
from maskline_bench.result_file import write_json

PLAYED_DRIVER = Path("play_driver") / "libcuda.so.1"
TYPES = {"FP32": "float32", "FP16": "float16", "BF16": "bfloat16"}  # as `make_shape` takes them
STRIDES, SIDE, SAMPLES = (4, 8, 16, 32), 7, 2
WIRE: dict[str, type[np.generic]] = {  # what numpy has of the types
    "UINT8": np.uint8,
    "INT32": np.int32,
    "FP32": np.float32,
    "FP16": np.float16,
}


@dataclasses.dataclass(frozen=True)
class Size:
    """Of the canvas and the work."""

    height: int = 800
    width: int = 1344
    boxes: int = 1000
    channels: int = 256
    launches: int = 200


SMALL = Size(height=96, width=160, boxes=24, channels=16, launches=2)


class Launcher:
    """MultiscaleRoIAlign of a library of kernels on buffers of pycuda."""

    def __init__(self, file: Path, gpu: DeviceMemory) -> None:
        """Load the library.

        Raises:
            BenchmarkError: it is not there, not for this machine or of another build.
        """
        with refusals_told():
            self._library = open_library(file)
        self._gpu = gpu

    def __call__(self, maps: Sequence[Buffer], boxes: Buffer, out: Buffer) -> bool:
        """Launch on the stream: maps [1,C,Hi,Wi], boxes [1,R,4] FP32, out [R,C,P,P]; raises BenchmarkError."""
        cells = [(level.shape[2], level.shape[3]) for level in maps]
        shape = roi_align.make_shape(TYPES[out.dtype], False, 1, boxes.shape[1], maps[0].shape[1], cells)
        attributes = roi_align.make_attributes(STRIDES, 224.0, 4, SIDE, SAMPLES, aligned=True, mode="align_avg")
        status = self._library.maskline_device_multiscale_roi_align(
            ctypes.byref(roi_align.Config(attributes=attributes, shape=shape)),
            (ctypes.c_void_p * len(maps))(*(level.address for level in maps)),
            ctypes.c_void_p(boxes.address),
            ctypes.c_void_p(None),  # the boxes of an image lie together
            ctypes.c_void_p(out.address),
            ctypes.c_void_p(self._gpu.stream),
        )
        if status:
            raise BenchmarkError(self._library.maskline_last_error().decode())
        return True


def measure(build: Path, device: Device, size: Size) -> dict[str, Any]:
    """How far each type is from the host library, what came back changed, and what the events say of time.

    Raises:
        BenchmarkError: no pycuda, no library, or a launch is refused.
    """
    gpu = _memory(build, device)
    launch = Launcher(build / (CUDA_FILE if device == "cuda" else EMULATOR_FILE), gpu)
    generator = np.random.default_rng(0)
    maps = [
        generator.standard_normal((1, size.channels, -(-size.height // stride), -(-size.width // stride)), np.float32)
        for stride in STRIDES
    ]
    boxes = _boxes(size, generator)
    return {
        "changed": {name: _changed(gpu, name, kind, generator) for name, kind in WIRE.items()},
        "error": {name: _error(gpu, launch, maps, boxes, name) for name in TYPES},
        **_times(gpu, launch, maps, boxes, size.launches),
    }


def _memory(build: Path, device: Device) -> DeviceMemory:
    """The GPU's, or the host's by the driver that plays one, whose addresses the emulator reads."""
    if device == "cpu" and card() is not None:
        raise BenchmarkError("--device cpu: got a GPU, whose memory the emulator cannot read; leave the option out")
    try:
        with contextlib.nullcontext() if device == "cuda" else played_driver(build / PLAYED_DRIVER):
            return DeviceMemory()
    except EngineBuildError as error:
        raise BenchmarkError(str(error)) from error


@contextlib.contextmanager
def played_driver(file: Path) -> Iterator[None]:
    """Within: pycuda's binding, imported for the first time, takes this library for the driver.

    It has the functions that `DeviceMemory` comes to, so those that pycuda binds besides must not be looked for yet.
    It stays what "libcuda.so.1" names until the process ends: whoever looks for a GPU does so in another.
    """
    ctypes.CDLL(str(file), ctypes.RTLD_GLOBAL)  # by its soname, libcuda.so.1, it is the one that the binding asks for
    flags = sys.getdlopenflags()
    sys.setdlopenflags(os.RTLD_LAZY)
    try:
        yield
    finally:
        sys.setdlopenflags(flags)


def _boxes(size: Size, generator: np.random.Generator) -> npt.NDArray[np.float32]:
    """[1, R, 4] xyxy, px, of sides that reach every level."""
    canvas = np.array([size.width, size.height], np.float32)
    sides = np.exp(generator.uniform(np.log(8.0), np.log(0.9 * canvas.min()), (size.boxes, 2)))
    corners = generator.uniform(0, 1, (size.boxes, 2)) * (canvas - sides)
    boxes: npt.NDArray[np.float32] = np.concatenate([corners, corners + sides], axis=1)[None].astype(np.float32)
    return boxes


def _changed(gpu: DeviceMemory, name: str, kind: type[np.generic], generator: np.random.Generator) -> int:
    """Of every byte as it may lie in memory: how many elements do not come back as they were sent."""
    sent = generator.integers(0, 256, 1 << 16, np.uint8).view(kind)
    sent = sent[np.isfinite(sent)]
    back = gpu.download(gpu.upload(sent, name)).astype(kind)
    return int((back != sent).sum())


def _on_gpu(
    gpu: DeviceMemory, maps: Sequence[npt.NDArray[np.float32]], boxes: npt.NDArray[np.float32], name: str
) -> tuple[list[Buffer], Buffer, Buffer]:
    """Features of a type and boxes on the GPU, and room for the answer."""
    levels, places = [gpu.upload(level, name) for level in maps], gpu.upload(boxes, "FP32")
    return levels, places, gpu.empty((boxes.shape[1], maps[0].shape[1], SIDE, SIDE), name)


def _error(
    gpu: DeviceMemory,
    launch: Launcher,
    maps: Sequence[npt.NDArray[np.float32]],
    boxes: npt.NDArray[np.float32],
    name: str,
) -> float:
    """The largest difference to the host library on features rounded to this type; infinite where nobody wrote."""
    levels, places, out = _on_gpu(gpu, maps, boxes, name)
    gpu.timed(lambda: launch(levels, places, out))
    rounded = [gpu.download(level).astype(np.float32) for level in levels]
    expected = roi_align.multiscale_roi_align(rounded, boxes, strides=STRIDES, pooled_side=SIDE, sampling_ratio=SAMPLES)
    apart = float(np.abs(gpu.download(out) - expected).max())
    return apart if np.isfinite(apart) else float("inf")


def _times(
    gpu: DeviceMemory,
    launch: Launcher,
    maps: Sequence[npt.NDArray[np.float32]],
    boxes: npt.NDArray[np.float32],
    launches: int,
) -> dict[str, float]:
    """Of a launch by events, ms, and what the events' time is of the clock's, which waits for the last launch too."""
    levels, places, out = _on_gpu(gpu, maps, boxes, "FP32")
    gpu.timed(lambda: launch(levels, places, out))  # the first launch loads the kernel
    start = time.perf_counter()
    _, milliseconds = gpu.timed(lambda: all(launch(levels, places, out) for _ in range(launches)))
    clock = 1e3 * (time.perf_counter() - start)
    return {"ms_a_launch": milliseconds / launches, "events_over_clock": milliseconds / clock}


def main(
    json_file: Annotated[Path, typer.Option("--json", help="The file to write.")],
    device: Annotated[Device, typer.Option(help="`cpu`: by the emulator and a driver that plays a GPU.")] = "cuda",
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes: shows only that the script runs.")] = False,
    build: Annotated[Path, typer.Option(help="Folder of the build: `make plugins`.")] = Path("build/plugins"),
) -> None:
    """Run a kernel of ours on memory, stream and events of pycuda, and compare it with the host library.

    Example: python -m maskline_bench.owed.by_pycuda --json out/by_pycuda.json
    """
    with in_one_line("owed by_pycuda"):
        first = head(device)
        found = measure(build, device, SMALL if quick else Size())
    write_json(json_file, {**first, "quick": quick, **found})


if __name__ == "__main__":
    typer.run(main)
