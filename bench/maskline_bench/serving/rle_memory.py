"""What turning 100 masks into COCO RLE on a 12-megapixel image costs the served postprocessing in memory.

The step `postprocess` is called directly, with as many objects as its slots hold (100 in the baseline), each as large
as the picture or half of it: the worst that the ensemble can ask of it. Its process is looked at before and after.

Letters: D detections an image, M mask side.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pycocotools.mask
import tritonclient.grpc as triton
from maskline_client.bench.machine import ProcessMemory, server_memory
from maskline_client.bench.statistics import steps_of
from maskline_client.connection import Connection
from maskline_serve.repository.names import word_of
from numpy.typing import NDArray

from maskline_bench.errors import BenchmarkError
from maskline_bench.measure import memory_mib, reset_peak

HEIGHT, WIDTH = 3000, 4000  # 12 megapixels
LIMIT_MIB = 100.0 * 1e6 / 2**20  # what it may add: 100 MB
RESIZED_HEIGHT, RESIZED_WIDTH = 800, 1067  # the canvas' share of such a picture
TIMEOUT_S = 120.0


@dataclasses.dataclass(frozen=True)
class RleMemory:
    """Result of one measurement.

    Attributes:
        objects: D, masks encoded at once.
        picture: its size.
        resident_before_mib: of the postprocessing's process after a request without objects.
        peak_mib: largest while it encoded.
        added_mib: the difference.
        peak_was_reset: False where the kernel keeps the peak since the start, so that `added_mib` may be too large.
        answer_bytes: length of all RLE strings together.
    """

    objects: int
    picture: str
    resident_before_mib: float
    peak_mib: float
    added_mib: float
    peak_was_reset: bool
    answer_bytes: int


def measure_rle_memory(url: str) -> RleMemory:
    """Measure on a local server.

    Raises:
        BenchmarkError: no such process to be seen, or the answer is wrong.
    """
    client = triton.InferenceServerClient(**Connection(url).client_arguments())
    try:
        model = next(name for name in steps_of(client, "maskrcnn") if word_of(name) == "postprocess")
        process = _postprocess_of(url)
        config = client.get_model_config(model).config
        slots, side = next(tuple(tensor.dims)[:2] for tensor in config.input if tensor.name == "masks")
        _ask(client, model, slots, side, num_objects=0)
        was_reset = reset_peak(process.pid)
        before_mib = memory_mib(process.pid)[1]
        strings = _ask(client, model, slots, side, num_objects=slots)
        peak_mib = memory_mib(process.pid)[0]
    finally:
        client.close()
    for text in strings:
        if not pycocotools.mask.area({"size": [HEIGHT, WIDTH], "counts": text}):
            raise BenchmarkError("rle memory: a mask came back empty, expected one of many pixels")
    return RleMemory(
        objects=slots,
        picture=f"{HEIGHT}x{WIDTH}",
        resident_before_mib=before_mib,
        peak_mib=peak_mib,
        added_mib=peak_mib - before_mib,
        peak_was_reset=was_reset,
        answer_bytes=sum(len(text) for text in strings),
    )


def _postprocess_of(url: str) -> ProcessMemory:
    """The process that runs the step, of a server on this machine."""
    for process in server_memory(url):
        if process.name.startswith("stub postprocess_0"):
            return process
    raise BenchmarkError(f"rle memory: no process of the step postprocess to be seen behind {url}")


def _ask(client: Any, model: str, slots: int, side: int, num_objects: int) -> list[bytes]:
    """Call the step with some objects; returns their RLE strings."""
    inputs = [_input(name, array) for name, array in _request(slots, side, num_objects).items()]
    result = client.infer(model, inputs, client_timeout=TIMEOUT_S)
    found = int(result.as_numpy("num_detections").reshape(-1)[0])
    if found != num_objects:
        raise BenchmarkError(f"rle memory: got {found} objects back, expected {num_objects}")
    return list(result.as_numpy("mask_rle")[0, :num_objects])


def _request(slots: int, side: int, num_objects: int) -> dict[str, NDArray[Any]]:
    """Inputs of `postprocess`: objects in turn as large as the picture and as its left half, masks of soft discs."""
    rng = np.random.default_rng(0)
    boxes = np.zeros((1, slots, 4), np.float32)
    boxes[0, :num_objects] = [0, 0, RESIZED_WIDTH, RESIZED_HEIGHT]
    boxes[0, 1:num_objects:2, 2] /= 2
    labels = np.full((1, slots), -1, np.int32)
    labels[0, :num_objects] = 0
    scores = np.zeros((1, slots), np.float32)
    scores[0, :num_objects] = np.linspace(0.99, 0.5, num_objects)
    rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
    disc = 1 / (1 + np.exp(np.hypot(rows, columns) - side / 3))
    noisy = np.clip(disc + rng.normal(0, 0.12, (slots, side, side)), 0, 1)
    masks = np.zeros((1, slots, side, side), np.float32)
    masks[0, :num_objects] = noisy[:num_objects]
    scale_y, scale_x = RESIZED_HEIGHT / HEIGHT, RESIZED_WIDTH / WIDTH
    info = np.array([[RESIZED_HEIGHT, RESIZED_WIDTH, scale_y, scale_x, HEIGHT, WIDTH]], np.float32)
    counts = np.array([[num_objects]], np.int32)
    return {
        "boxes": boxes, "scores": scores, "labels": labels, "num_detections": counts, "masks": masks,
        "image_info": info,
    }  # fmt: skip


def _input(name: str, array: NDArray[Any]) -> Any:
    """One tensor of the request."""
    names = {"float32": "FP32", "int32": "INT32"}
    tensor = triton.InferInput(name, list(array.shape), names[array.dtype.name])
    tensor.set_data_from_numpy(array)
    return tensor
