"""What the sync and the asyncio client share: channel options, requests, answers.

Letters: B the batch, here always 1, D detections an image, J keypoints.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tritonclient.grpc as triton

from maskline_client.contract import IMAGE, TensorSpec
from maskline_client.detections import Detections
from maskline_client.errors import ClientError, ContractMismatch, from_status
from maskline_client.served_model import ServedModel, fit_shape, shape_text

DEFAULT_URL = "127.0.0.1:8001"
DEFAULT_DEADLINE_S = 60.0  # a ResNet-50-FPN on two cores takes about 5 s an image, and a queue stands before it
DEFAULT_RETRIES = 4  # gRPC caps a call at 5 attempts

_UNLIMITED = -1
# gRPC retries only what it still holds; its default of 256 KiB is less than a photograph.
_RETRY_BUFFER_BYTES = 64 << 20
_KEEPALIVE_MS = 330_000  # Triton closes a connection that pings more often than every 300 s


@dataclasses.dataclass(frozen=True)
class Tls:
    """An encrypted connection.

    Attributes:
        ca: PEM file of the authorities to trust; None: those that gRPC ships.
        key: PEM file of the client's private key, for mutual TLS.
        certificate: PEM file of the client's certificate chain, for mutual TLS.
    """

    ca: Path | None = None
    key: Path | None = None
    certificate: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files.

        Raises:
            ValueError: a file cannot be read, or only one of key and certificate is given.
        """
        if (self.key is None) != (self.certificate is None):
            raise ValueError("TLS: got only one of key and certificate, expected both or none")
        return grpc.ssl_channel_credentials(*(_read_pem(path) for path in (self.ca, self.key, self.certificate)))


@dataclasses.dataclass(frozen=True)
class Connection:
    """How to reach the server.

    Attributes:
        url: host:port of the gRPC endpoint.
        deadline_s: seconds a call may take, the check of the contract before the first one and retries included.
        retries: attempts after the first when the server is unavailable, 0 to 4.
        tls: None for a plain connection.
    """

    url: str = DEFAULT_URL
    deadline_s: float = DEFAULT_DEADLINE_S
    retries: int = DEFAULT_RETRIES
    tls: Tls | None = None

    def __post_init__(self) -> None:
        """Refuse what could only fail later, at the first call."""
        host, _, port = self.url.rpartition(":")
        bare_ipv6 = ":" in host and not (host.startswith("[") and host.endswith("]"))
        if "/" in self.url or not host or bare_ipv6 or not (port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError(
                f"url: got {self.url!r}, expected host:port of the gRPC endpoint, e.g. {DEFAULT_URL} or [::1]:8001"
            )
        if not (math.isfinite(self.deadline_s) and self.deadline_s > 0):
            raise ValueError(f"deadline: got {self.deadline_s} s, expected a positive number of seconds")
        if not 0 <= self.retries <= DEFAULT_RETRIES:
            raise ValueError(f"retries: got {self.retries}, expected 0 to {DEFAULT_RETRIES}, the most that gRPC makes")

    def client_arguments(self) -> dict[str, Any]:
        """Keyword arguments of tritonclient's `InferenceServerClient`, the sync and the asyncio one."""
        return {
            "url": self.url,
            "creds": self.tls.credentials() if self.tls else None,
            "channel_args": channel_args(self.retries),
        }

    def error(self, failure: triton.InferenceServerException) -> ClientError:
        """The failure of a call as one of our errors."""
        return from_status(str(failure.status()), str(failure.message()), self.url, self.deadline_s)

    def left_s(self, start: float) -> float:
        """Seconds left of the deadline of something that began at `start` (of `time.monotonic`); more than 0.

        Raises:
            DeadlineExceeded: none.
        """
        left = start + self.deadline_s - time.monotonic()
        if left <= 0:
            raise self.too_late()
        return left

    def too_late(self) -> ClientError:
        """The error of a deadline that passed on our side."""
        return from_status("DEADLINE_EXCEEDED", "", self.url, self.deadline_s)


def channel_args(retries: int) -> list[tuple[str, str | int]]:
    """All channel options; tritonclient drops its own defaults when it is given any, message sizes included."""
    args: list[tuple[str, str | int]] = [
        ("grpc.max_send_message_length", _UNLIMITED),
        ("grpc.max_receive_message_length", _UNLIMITED),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.initial_reconnect_backoff_ms", 200),  # the default of 1 s would outlast the retries of a restart
        ("grpc.max_reconnect_backoff_ms", 2_000),
    ]
    if retries == 0:
        return [*args, ("grpc.enable_retries", 0)]
    policy = {
        "maxAttempts": retries + 1,
        "initialBackoff": "0.2s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],  # inference changes nothing on the server, so it may be repeated
    }
    service = {"name": [{"service": "inference.GRPCInferenceService"}], "retryPolicy": policy}
    return [
        *args,
        ("grpc.enable_retries", 1),
        ("grpc.per_rpc_retry_buffer_size", _RETRY_BUFFER_BYTES),
        ("grpc.service_config", json.dumps({"methodConfig": [service]})),
    ]


def request_inputs(image: bytes) -> list[triton.InferInput]:
    """The input tensors of one image file."""
    tensor = triton.InferInput(IMAGE.name, [1, *IMAGE.shape], IMAGE.dtype)
    tensor.set_data_from_numpy(np.array([[image]], dtype=np.object_))  # an "S" array would drop trailing zero bytes
    return [tensor]


def request_outputs(model: ServedModel) -> list[triton.InferRequestedOutput]:
    """The outputs to ask for: all that the model answers."""
    return [triton.InferRequestedOutput(spec.name) for spec in model.outputs]


def parse_answer(result: triton.InferResult, model: ServedModel) -> Detections:
    """One image's answer; padding rows are cut off.

    Raises:
        ContractMismatch: an output is missing or has another shape, or the rows do not make sense.
    """
    classes, sizes = model.classes, {"D": model.max_detections, "J": len(model.keypoint_names)}
    rows = {spec.name: _only_row(result, spec, sizes) for spec in model.outputs}
    count = int(rows["num_detections"][0])
    labels = rows["labels"][:count].astype(np.int32)
    if not 0 <= count <= len(rows["labels"]):
        raise ContractMismatch(f"num_detections: got {count}, expected 0 to {len(rows['labels'])}")
    if count and not (labels.min() >= 0 and labels.max() < len(classes)):
        raise ContractMismatch(f"labels: got {labels.min()} to {labels.max()}, expected 0 to {len(classes) - 1}")
    height, width = (int(side) for side in rows["image_size"])
    return Detections(
        boxes=rows["boxes"][:count].astype(np.float32),
        scores=rows["scores"][:count].astype(np.float32),
        labels=labels,
        names=tuple(classes[label] for label in labels),
        rle=tuple(bytes(counts) for counts in rows["mask_rle"][:count]) if model.has_masks else None,
        image_size=(height, width),
        keypoints=rows["keypoints"][:count].astype(np.float32) if model.keypoints else None,
        keypoint_names=model.keypoint_names,
    )


def _only_row(result: triton.InferResult, spec: TensorSpec, sizes: dict[str, int]) -> Any:
    """The tensor of the batch's only image; the letters of its shape must have the sizes known, and are noted."""
    array = result.as_numpy(spec.name)
    expected = (1, *spec.shape)
    if array is None or not fit_shape(array.shape, expected, sizes):
        got = "nothing" if array is None else f"shape {list(array.shape)}"
        raise ContractMismatch(f"output {spec.name}: got {got}, expected {shape_text(expected, sizes)}")
    return array[0]


def _read_pem(path: Path | None) -> bytes | None:
    """The bytes of a PEM file, None for none."""
    try:
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise ValueError(f"TLS: {path} cannot be read ({error.strerror}), expected a PEM file") from error
