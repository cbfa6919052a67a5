"""Requests over gRPC that lie: each is answered, or refused for itself alone as the fault of who sent it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import grpc
from atheris import FuzzedDataProvider
from fuzz.edits import NUMBERS, TEXTS
from fuzz.wire.served import GRPC, address
from serve import standin
from tritonclient.grpc import service_pb2, service_pb2_grpc

MODELS = ("maskrcnn", "maskrcnn_raw", "maskrcnn_engines", "maskrcnn_boxes", "none", "")
DTYPES = ("BYTES", "UINT8", "FP32", "INT64", "BOOL", "FP16", "BF16", "none", "")
# What says that the request is wrong. INTERNAL and UNKNOWN say that the server is, UNAVAILABLE that it is gone.
REFUSALS = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED)
DEADLINE_S = 60.0  # for a loaded machine; an idle one answers in milliseconds
_PICTURE = standin.picture(3)


def prepare(_: Path) -> Callable[[bytes], None]:
    """The target; `fuzz.run` starts the server."""
    channel = grpc.insecure_channel(address(GRPC), options=[("grpc.enable_http_proxy", 0)])
    stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

    def run(data: bytes) -> None:
        sent = request(FuzzedDataProvider(data))
        if (refusal := _refusal(stub, sent)) is not None:
            assert refusal.code() in REFUSALS, (refusal.code(), refusal.details())

    return run


def _refusal(stub: service_pb2_grpc.GRPCInferenceServiceStub, sent: service_pb2.ModelInferRequest) -> grpc.Call | None:
    try:
        stub.ModelInfer(sent, timeout=DEADLINE_S)
    except grpc.RpcError as error:
        return error
    return None


def request(choices: FuzzedDataProvider) -> service_pb2.ModelInferRequest:
    """A request, most of which is good."""
    sent = service_pb2.ModelInferRequest(model_name=choices.PickValueInList(list(MODELS)))
    if choices.ConsumeIntInRange(0, 9) == 1:
        sent.model_version = choices.PickValueInList(["1", "2", "-1", "x", "99999999999999999999"])
    for _ in range(1 + (choices.ConsumeIntInRange(0, 9) == 1)):
        _add_input(sent, choices)
    if sent.model_name == "maskrcnn_engines":
        _add_input(sent, choices, name="image_info")
    for _ in range(choices.ConsumeIntInRange(0, 3)):
        sent.outputs.add().name = choices.PickValueInList(["boxes", "mask_rle", "none", "", "image_size"])
    if choices.ConsumeIntInRange(0, 4) == 1:
        _add_parameters(sent, choices)
    if choices.ConsumeIntInRange(0, 9) == 1:
        sent.raw_input_contents.append(choices.ConsumeBytes(9))
    return sent


def _add_input(sent: service_pb2.ModelInferRequest, choices: FuzzedDataProvider, name: str = "") -> None:
    is_canvas = sent.model_name == "maskrcnn_engines"
    tensor = sent.inputs.add()
    tensor.name = name or ("canvas" if is_canvas else "image")
    tensor.datatype = "FP32" if name else "UINT8" if is_canvas else "BYTES"
    shape = [1, 6] if name else [1, 64, 96, 3] if is_canvas else [1, 1]
    lie = choices.ConsumeIntInRange(0, 12)
    if lie == 1:
        tensor.name = choices.PickValueInList(["canvas", "x", "", "\n"])
    if lie == 2:
        tensor.datatype = choices.PickValueInList(list(DTYPES))
    if lie in (3, 4):
        shape[choices.ConsumeIntInRange(0, len(shape) - 1)] = choices.PickValueInList([*NUMBERS[:9], 2**63 - 1])
    if lie == 5:
        shape = [*shape[: choices.ConsumeIntInRange(0, len(shape))], choices.ConsumeIntInRange(0, 3)]
    tensor.shape.extend(shape)
    if lie == 6:  # values of a type in place of bytes
        tensor.contents.bytes_contents.append(_PICTURE)
        return
    if lie == 7:
        return
    raw = _raw(choices, tensor.name, lie)
    sent.raw_input_contents.append(raw)


def _raw(choices: FuzzedDataProvider, name: str, lie: int) -> bytes:
    if name == "canvas":
        raw = bytes(64 * 96 * 3)
    elif name == "image_info":
        values = [64.0, 96.0, 1.0, 1.0, 64.0, 96.0]
        if choices.ConsumeBool():
            wrong = [float("nan"), float("inf"), -1.0, 0.0, 1e30, 1e-30, 3e9]
            values[choices.ConsumeIntInRange(0, 5)] = choices.PickValueInList(wrong)
        raw = struct.pack("<6f", *values)
    else:
        picture = _PICTURE if choices.ConsumeBool() else choices.ConsumeBytes(choices.ConsumeIntInRange(0, 40))
        length = choices.PickValueInList([0, 1, len(picture) + 1, 2**31, 2**32 - 1]) if lie == 8 else len(picture)
        raw = struct.pack("<I", length) + picture
    if lie == 9:
        raw = raw[: choices.ConsumeIntInRange(0, len(raw))]
    return raw + choices.ConsumeBytes(4) if lie == 10 else raw


def _add_parameters(sent: service_pb2.ModelInferRequest, choices: FuzzedDataProvider) -> None:
    names = ("artifact_sha256", "priority", "timeout", "sequence_id", "sequence_start", "binary_data", "x", "")
    for _ in range(choices.ConsumeIntInRange(1, 3)):
        parameter = sent.parameters[choices.PickValueInList(list(names))]
        kind = choices.ConsumeIntInRange(0, 3)
        if kind == 0:
            parameter.bool_param = choices.ConsumeBool()
        elif kind == 1:
            parameter.int64_param = choices.PickValueInList([0, 1, -1, 2**63 - 1, -(2**63)])
        elif kind == 2:
            parameter.double_param = choices.PickValueInList([0.0, float("nan"), float("inf")])
        else:
            parameter.string_param = choices.PickValueInList([text for text in TEXTS if text.isprintable()])
