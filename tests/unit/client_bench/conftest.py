"""A small KServe gRPC server in this process: real gRPC, real protobuf messages, answers and failures on demand."""

from __future__ import annotations

import dataclasses
import io
import struct
import threading
import time
from collections.abc import Iterator
from concurrent import futures

import grpc
import numpy as np
import pytest
from maskline_client import rle
from maskline_client.bench.images import BenchImage
from PIL import Image
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

STEPS = ("preprocess", "backbone")
SLOTS = 4  # D of this server's answers; rows past the count are padding


@dataclasses.dataclass
class Behaviour:
    """What the server does; tests change it."""

    delay_s: float = 0.0
    fail_every: int = 0  # 0 never; N: every Nth request fails with UNAVAILABLE
    mix_up: bool = False  # two requests at once get each other's number of objects
    tag: str = ""  # behind the name of each step
    requests: int = 0
    most_at_once: int = 0


class KServe(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers an image of N bytes with N % 4 objects."""

    def __init__(self) -> None:
        self.behaviour = Behaviour()
        self._at_once = 0
        self._lock = threading.Lock()

    def ModelInfer(self, request, context):  # noqa: N802 - the protocol's name
        with self._lock:
            self.behaviour.requests += 1
            number = self.behaviour.requests
            self._at_once += 1
            self.behaviour.most_at_once = max(self.behaviour.most_at_once, self._at_once)
        time.sleep(self.behaviour.delay_s)
        with self._lock:
            together = self._at_once
            self._at_once -= 1
        if self.behaviour.fail_every and number % self.behaviour.fail_every == 0:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size")
        payload = request.raw_input_contents[0]
        (length,) = struct.unpack("<I", payload[:4])
        count = length % SLOTS + (1 if self.behaviour.mix_up and together > 1 else 0)
        return _answer(min(count, SLOTS))

    def ModelConfig(self, request, context):  # noqa: N802
        config = model_config_pb2.ModelConfig(name=request.name)
        for step in STEPS:
            config.ensemble_scheduling.step.add(model_name=f"{step}{self.behaviour.tag}")
        return service_pb2.ModelConfigResponse(config=config)

    def ModelStatistics(self, request, context):  # noqa: N802
        done = self.behaviour.requests
        stats = service_pb2.ModelStatistics(name=request.name, inference_count=done, execution_count=done // 2)
        stats.inference_stats.success.count = done
        for phase in ("queue", "compute_input", "compute_infer", "compute_output"):
            getattr(stats.inference_stats, phase).ns = done * 2_000
        batch = stats.batch_stats.add(batch_size=2)
        batch.compute_infer.count = done // 2
        return service_pb2.ModelStatisticsResponse(model_stats=[stats])

    def ServerMetadata(self, request, context):  # noqa: N802
        return service_pb2.ServerMetadataResponse(name="kserve-test", version="1")


def _answer(count: int):
    """Protobuf answer with `count` objects."""
    mask = np.zeros((8, 8), bool)
    mask[2:6, 2:6] = True
    counts = rle.from_mask(mask)
    boxes = np.zeros((1, SLOTS, 4), np.float32)
    boxes[0, :count] = [2, 2, 6, 6]
    labels = np.full((1, SLOTS), -1, np.int32)
    labels[0, :count] = 1
    scores = np.zeros((1, SLOTS), np.float32)
    scores[0, :count] = 0.9
    strings = [counts if slot < count else b"" for slot in range(SLOTS)]
    outputs = {
        "num_detections": ("INT32", [1, 1], np.array([[count]], np.int32).tobytes()),
        "boxes": ("FP32", [1, SLOTS, 4], boxes.tobytes()),
        "scores": ("FP32", [1, SLOTS], scores.tobytes()),
        "labels": ("INT32", [1, SLOTS], labels.tobytes()),
        "mask_rle": ("BYTES", [1, SLOTS], b"".join(struct.pack("<I", len(s)) + s for s in strings)),
        "image_size": ("INT32", [1, 2], np.array([[8, 8]], np.int32).tobytes()),
    }
    response = service_pb2.ModelInferResponse(model_name="maskrcnn", model_version="1")
    for name, (dtype, shape, raw) in outputs.items():
        response.outputs.add(name=name, datatype=dtype, shape=shape)
        response.raw_output_contents.append(raw)
    return response


@dataclasses.dataclass(frozen=True)
class Served:
    """A running server: where it is, and what it does."""

    url: str
    behaviour: Behaviour


@pytest.fixture
def served() -> Iterator[Served]:
    """A fresh server on a free port of the loopback."""
    servicer = KServe()
    server = grpc.server(futures.ThreadPoolExecutor(16))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield Served(f"127.0.0.1:{port}", servicer.behaviour)
    server.stop(None).wait()


def png(side: int) -> bytes:
    """A real PNG file of one grey square."""
    stream = io.BytesIO()
    Image.new("RGB", (side, side), (90, 90, side % 256)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def images() -> tuple[BenchImage, ...]:
    """Three small images; their byte lengths decide how many objects the server finds."""
    files = [(f"{side}.png", png(side), side) for side in (8, 20, 33)]
    return tuple(BenchImage(name, data, side, side) for name, data, side in files)
