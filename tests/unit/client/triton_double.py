"""A tiny gRPC server that speaks Triton's protocol: real sockets, real retries and deadlines, answers by script."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
from maskline_client import contract, rle
from tritonclient.grpc import service_pb2, service_pb2_grpc

CLASSES = ("circle", "square", "star")
POINTS = ("top", "left end", "right end")
KEYPOINTS = {"names": list(POINTS), "flip_pairs": [["left end", "right end"]], "sigmas": []}
BOXES_ALONE = tuple(spec for spec in contract.MASKRCNN.outputs if spec not in contract.MASKRCNN.optional)
WITH_MASKS = tuple(spec for spec in contract.MASKRCNN.outputs if spec is not contract.KEYPOINTS)
WITH_KEYPOINTS = (*BOXES_ALONE, contract.KEYPOINTS)
WITH_BOTH = contract.MASKRCNN.outputs
ROWS = 5  # D of this server
REFUSED = b"\x89PNG\r\n\x1a\nbroken"  # how an image begins that the server refuses
SIZE = (20, 30)


@dataclasses.dataclass
class Script:
    """What the server does with inference calls, and what it saw."""

    failures: int = 0  # so many calls fail first
    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    details: str = "scripted"
    sleep_s: float = 0.0
    metadata_sleep_s: float = 0.0
    config_sleep_s: float = 0.0
    over: threading.Event = dataclasses.field(default_factory=threading.Event)  # ends every sleep
    padding: bytes = b""  # the text of a padding row's mask
    size: tuple[int, int] = SIZE  # what the server says of every image
    points_shift: float = 0.0  # added to all three numbers of each keypoint
    ensembles: tuple[contract.EnsembleSpec, ...] = contract.ENSEMBLES  # of each model
    away: str = ""  # what it says of every model, where none is loaded
    models: tuple[str, ...] = (contract.DEFAULT_MODEL,)  # their names
    identity: dict[str, str] = dataclasses.field(default_factory=dict)  # further parameters of the ensembles
    labels: str = json.dumps(CLASSES)
    keypoints: str = json.dumps(KEYPOINTS)
    artifact: str = ""  # the parameter artifact_sha256; requests for another one are refused
    calls: int = 0
    after_question: Callable[[], None] = lambda: None  # called when a question for the contract has its answer
    contracts: int = 0  # how often the contract was asked for
    under_way: int = 0
    most_under_way: int = 0
    images: list[bytes] = dataclasses.field(default_factory=list)
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)
    outputs: tuple[contract.TensorSpec, ...] = WITH_MASKS  # of `maskrcnn`; the other two have masks
    shapes: dict[str, list[int]] = dataclasses.field(default_factory=dict)  # of outputs that are answered reshaped
    left_out: str = ""  # an output that is offered and not answered
    steps: tuple[str, ...] = contract.STEPS  # what the configuration of every ensemble says that it runs
    tells_statistics: bool = True  # False: refuses to say which models it has


def mask_of(row: int) -> np.ndarray:
    """The mask the server answers for object `row`: a rectangle of its own."""
    mask = np.zeros(SIZE, bool)
    mask[row : row + 5, 2 * row : 2 * row + 7] = True
    return mask


def points_of(row: int) -> np.ndarray:
    """The keypoints the server answers for object `row`, [3, 3] float32 x, y, probability: top and lower corners."""
    x0, y0 = 2 * row, row
    return np.array([[x0 + 3.5, y0, 0.75], [x0, y0 + 5, 0.5], [x0 + 7, y0 + 5, 0.25]], np.float32)


def objects_of(image: bytes) -> int:
    """How many objects the server finds: the last byte of the file, at most D."""
    return min(image[-1], ROWS)


def answer(image: bytes, script: Script, outputs: tuple[contract.TensorSpec, ...]) -> service_pb2.ModelInferResponse:
    """An answer as Triton writes it, padding rows included."""
    count = objects_of(image)
    rows = np.arange(ROWS)
    boxes = np.stack([2 * rows, rows, 2 * rows + 7, rows + 5], axis=1).astype(np.float32)
    scores = (0.9 - 0.1 * rows).astype(np.float32)
    labels = (rows % len(CLASSES)).astype(np.int32)
    points = np.stack([points_of(row) for row in rows]) + np.float32(script.points_shift)
    boxes[count:], scores[count:], labels[count:], points[count:] = 0, 0, -1, 0
    strings = [rle.from_mask(mask_of(row)) if row < count else script.padding for row in rows]
    tensors = {
        "num_detections": np.array([count], np.int32).tobytes(),
        "boxes": boxes.tobytes(),
        "scores": scores.tobytes(),
        "labels": labels.tobytes(),
        "mask_rle": b"".join(struct.pack("<I", len(text)) + text for text in strings),
        "keypoints": points.tobytes(),
        "image_size": np.array(script.size, np.int32).tobytes(),
    }
    response = service_pb2.ModelInferResponse(model_name="maskrcnn")
    for spec in outputs:
        if spec.name == script.left_out:
            continue
        sizes = {"D": ROWS, "J": len(POINTS)}
        shape = script.shapes.get(spec.name, [1, *(sizes.get(side, side) for side in spec.shape)])
        response.outputs.add(name=spec.name, datatype=spec.dtype, shape=shape)
        response.raw_output_contents.append(tensors[spec.name])
    return response


class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):
    """The calls that the client makes."""

    def __init__(self, script: Script) -> None:
        self.script = script

    def ServerLive(self, request, context):  # noqa: N802
        return service_pb2.ServerLiveResponse(live=True)

    def ServerReady(self, request, context):  # noqa: N802
        return service_pb2.ServerReadyResponse(ready=True)

    def ModelReady(self, request, context):  # noqa: N802
        return service_pb2.ModelReadyResponse(ready=request.name.partition("-")[0] != "mask")

    def ModelMetadata(self, request, context):  # noqa: N802
        with self.script.lock:
            self.script.contracts += 1
        self.script.over.wait(self.script.metadata_sleep_s)
        spec = self._spec(request.name, context)
        response = service_pb2.ModelMetadataResponse(name=request.name)
        sizes = {"D": ROWS, "M": 28, "J": len(POINTS), "H": -1, "W": -1}
        with_masks = tuple(output for output in spec.outputs if output is not contract.KEYPOINTS)
        outputs = self.script.outputs if spec is contract.MASKRCNN else with_masks
        for group, tensors in ((response.inputs, spec.inputs), (response.outputs, outputs)):
            for tensor in tensors:
                shape = [-1, *(sizes.get(side, side) for side in tensor.shape)]
                group.add(name=tensor.name, datatype=tensor.dtype, shape=shape)
        self.script.after_question()
        return response

    def ModelConfig(self, request, context):  # noqa: N802
        self.script.over.wait(self.script.config_sleep_s)
        self._spec(request.name, context)
        response = service_pb2.ModelConfigResponse()
        for key, value in self.script.identity.items():
            response.config.parameters[key].string_value = value
        for step in self.script.steps:
            response.config.ensemble_scheduling.step.add(model_name=step)
        response.config.parameters["labels"].string_value = self.script.labels
        if self.script.artifact:
            response.config.parameters["artifact_sha256"].string_value = self.script.artifact
        if self.script.keypoints:
            response.config.parameters["keypoints"].string_value = self.script.keypoints
        self.script.after_question()
        return response

    def ModelStatistics(self, request, context):  # noqa: N802
        if not self.script.tells_statistics:
            context.abort(grpc.StatusCode.UNAVAILABLE, "This protocol is restricted, expecting header 'admin'")
        response = service_pb2.ModelStatisticsResponse()
        ensembles = (spec.named(model).name for model in self.script.models for spec in self.script.ensembles)
        for name in (*self.script.steps, *ensembles):
            response.model_stats.add(name=name)
        return response

    def _spec(self, name, context):
        """The ensemble of that name; Triton's own words where there is none."""
        if self.script.away:
            context.abort(grpc.StatusCode.NOT_FOUND, self.script.away)
        found = [
            spec for model in self.script.models for spec in self.script.ensembles if spec.named(model).name == name
        ]
        if not found:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{name}' is not found")
        return found[0]

    def ModelInfer(self, request, context):  # noqa: N802
        script = self.script
        spec = self._spec(request.model_name, context)
        offered = script.outputs if spec is contract.MASKRCNN else spec.outputs
        with script.lock:
            script.calls += 1
            script.under_way += 1
            script.most_under_way = max(script.most_under_way, script.under_way)
            fails = script.calls <= script.failures
        try:
            script.over.wait(script.sleep_s)
            if fails:
                context.abort(script.code, script.details)
            asked = request.parameters["artifact_sha256"].string_param
            if script.artifact and asked not in ("", script.artifact):
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"artifact_sha256: got a request for {asked!r}")
            raw = request.raw_input_contents[0]
            image = raw[4 : 4 + struct.unpack("<I", raw[:4])[0]]
            script.images.append(image)
            if image.startswith(REFUSED):
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "image 0: truncated")
            for asked in {output.name for output in request.outputs} - {output.name for output in offered}:
                text = f"unexpected inference output '{asked}' for model '{request.model_name}'"  # Triton's own words
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
            return answer(image, script, offered)
        finally:
            with script.lock:
                script.under_way -= 1


@dataclasses.dataclass
class Server:
    """Where it listens and what it does."""

    url: str
    script: Script


@contextlib.contextmanager
def serving(script: Script, port: int = 0) -> Iterator[Server]:
    """A server that plays the script, gone afterwards; port 0 takes a free one."""
    running = grpc.server(ThreadPoolExecutor(32), options=[("grpc.max_receive_message_length", -1)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(script), running)
    port = running.add_insecure_port(f"127.0.0.1:{port}")
    running.start()
    try:
        yield Server(f"127.0.0.1:{port}", script)
    finally:
        script.over.set()
        running.stop(None).wait(5)


def file_with(objects: int, size: int = 32) -> bytes:
    """Bytes with PNG's signature for which the server finds that many objects."""
    return b"\x89PNG\r\n\x1a\n" + bytes(size) + bytes([objects])
