"""Who is compared: each side takes files and gives what it found in them.

Letters: k files at once: a batch of one process, or requests in flight at a server.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch
from maskline_client.bench.calls import Caller
from maskline_client.bench.images import BenchImage
from maskline_host.library import custom_ops_path
from maskline_serve.server.triton_server import TritonServer
from PIL import Image

from maskline_bench.compare.in_process import InProcess, built_engines
from maskline_bench.engines.sessions import Sessions
from maskline_bench.errors import BenchmarkError
from maskline_bench.made_model import MadeModel
from maskline_bench.owed.task import Device, assembled, served_artifact
from maskline_bench.serving.eager import Found, detect_batch
from maskline_bench.serving.found import answer_found

TRITON = "maskline through Triton"
IN_PROCESS = "maskline in one process"
TENSORRT = "maskline, TensorRT in one process"
EAGER, AUTOCAST, COMPILED = "torchvision eager", "torchvision autocast", "torchvision, trunk compiled"
DETECTRON2 = "detectron2"
OURS = (TRITON, IN_PROCESS, TENSORRT)
THEIRS = (EAGER, AUTOCAST, COMPILED)
_THREADS = 2  # of ONNX Runtime on a CPU
_TIMEOUT_S = 300.0
_HALF = {"cpu": torch.bfloat16, "cuda": torch.float16}
_NAMES = {torch.bfloat16: "bf16", torch.float16: "fp16"}

# Files, and how many at once -> what was found, and the milliseconds that each file's answer took.
Run = Callable[[Sequence[bytes], int], tuple[list[Found], list[float]]]


@dataclasses.dataclass(frozen=True)
class Side:
    """Someone who is timed.

    Attributes:
        name: of the side.
        precision: of trunk and heads.
        run: answers files.
        at_once: numbers k that are timed.
        cuda_graph: whether it replays a CUDA graph.
    """

    name: str
    precision: str
    run: Run
    at_once: tuple[int, ...]
    cuda_graph: bool = False


def left_out(device: Device, *, quick: bool) -> dict[str, str]:
    """Who is not compared on this machine, and why; in a smoke run nobody who compiles for minutes."""
    found = {COMPILED: "a smoke run"} if quick else {}
    # Emulated it takes minutes an image. Only these instructions compute it.
    if device == "cpu" and not torch.cpu._is_avx512_bf16_supported():
        found[AUTOCAST] = "this processor has no instructions for bf16"
    if device == "cpu" or importlib.util.find_spec("tensorrt") is None:
        found[TENSORRT] = "no GPU was asked for" if device == "cpu" else "no Python module tensorrt"
    if importlib.util.find_spec("detectron2") is None:
        found[DETECTRON2] = "no Python module detectron2"
    else:
        found[DETECTRON2] = "installed, but our weights do not go back into it"
    return found


def in_batches(answer: Callable[[Sequence[bytes]], list[Found]]) -> Run:
    """The files in batches of k, one after the other; an answer takes as long as its batch."""

    def run(files: Sequence[bytes], at_once: int) -> tuple[list[Found], list[float]]:
        found: list[Found] = []
        milliseconds: list[float] = []
        for start in range(0, len(files), at_once):
            batch = files[start : start + at_once]
            begun = time.perf_counter()
            found += answer(batch)
            milliseconds += [(time.perf_counter() - begun) * 1e3] * len(batch)
        return found, milliseconds

    return run


@contextmanager
def triton(made: MadeModel, device: Device, at_once: tuple[int, ...], folder: Path) -> Iterator[tuple[Side, str]]:
    """Ours through a real server, k requests in flight; and its gRPC address."""
    with TritonServer(assembled(made, device, folder), timeout_s=_TIMEOUT_S) as server:
        callers = [Caller(server.grpc_url, "maskrcnn", _TIMEOUT_S) for _ in range(max(at_once))]
        with ThreadPoolExecutor(len(callers)) as pool:

            def run(files: Sequence[bytes], flight: int) -> tuple[list[Found], list[float]]:
                answers: list[tuple[Found, float]] = [None] * len(files)  # type: ignore[list-item]
                turns = iter(range(len(files)))  # a list iterator: next() of it is atomic

                def work(caller: Caller) -> None:
                    for turn in turns:
                        image = as_image(files[turn])
                        call = caller.call(image)
                        answers[turn] = answer_found(call.answer, (image.height, image.width)), call.latency_ms

                list(pool.map(work, callers[:flight]))
                return [found for found, _ in answers], [latency for _, latency in answers]

            try:
                yield Side(TRITON, "fp16" if device == "cuda" else "fp32", run, at_once), server.grpc_url
            finally:
                for caller in callers:
                    caller.close()


def as_image(file: bytes) -> BenchImage:
    """A file with the size that its head names."""
    with Image.open(io.BytesIO(file)) as image:
        return BenchImage("picture", file, image.height, image.width)


@contextmanager
def in_process(name: str, made: MadeModel, device: Device, at_once: tuple[int, ...], folder: Path) -> Iterator[Side]:
    """A side without a server: ours by sessions or by engines, torchvision as it comes, in autocast, or compiled."""
    if name in THEIRS:
        yield _torchvision(name, made, device, at_once)
        return
    if name not in OURS:
        raise BenchmarkError(f"side: got {name!r}, expected one of {', '.join((*OURS, *THEIRS))}")
    artifact = served_artifact(made, device)
    stages = (
        built_engines(artifact, folder / "engines")
        if name == TENSORRT
        else Sessions(artifact, device, _THREADS, custom_ops_path()).on_host
    )
    with InProcess(made.artifact(), folder / "steps", stages) as ours:
        yield Side(name, "fp16" if device == "cuda" else "fp32", in_batches(ours.detect), at_once)


def _torchvision(name: str, made: MadeModel, device: Device, at_once: tuple[int, ...]) -> Side:
    model = made.peer().to(device)
    # On a GPU the compiled trunk is the fastest form, so with autocast; a processor may have no bf16.
    half = _HALF[device] if name == AUTOCAST or (name == COMPILED and device == "cuda") else None
    if name == COMPILED:
        model.backbone = torch.compile(model.backbone, dynamic=True)  # pictures of several shapes
    precision = "fp32" if half is None else _NAMES[half]
    return Side(name, precision, in_batches(lambda files: detect_batch(model, files, device, half)), at_once)
