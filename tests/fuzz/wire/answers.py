"""A server that lies: its metadata, its configuration and its answers are read whole or refused as no contract of ours.

What is taken can be used: every method of `Detections` answers or raises the ValueError that it documents.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

from atheris import FuzzedDataProvider
from fuzz.edits import NUMBERS, json_file
from fuzz.oracle import judged
from maskline_client import rle
from maskline_client.calling.answer import parse_answer
from maskline_client.contract import MASKRCNN, TensorSpec
from maskline_client.detections import Detections
from maskline_client.errors import ContractMismatch
from maskline_client.served_model import KeypointNames, ServedModel, read_model
from tritonclient import grpc as triton
from tritonclient.grpc import service_pb2

D, J, SIZE = 4, 3, (20, 30)
DTYPES = ("FP32", "INT32", "BYTES", "INT64", "BOOL", "UINT8", "FP16", "BF16", "INT9", "")
_SMALL_PX = 1 << 20
MODEL = ServedModel(("cat", "dog"), MASKRCNN.outputs, D, KeypointNames(("nose", "left", "right")), "a" * 64)


def prepare(_: Path) -> Callable[[bytes], None]:
    """The target: metadata and configuration, or an answer."""
    return run


def run(data: bytes) -> None:
    """One server."""
    choices = FuzzedDataProvider(data)
    if choices.ConsumeIntInRange(0, 3) == 0:
        metadata, config = _metadata(choices), _config(choices)
        with judged(ContractMismatch):
            read_model(metadata, config, MASKRCNN)
        return
    result = triton.InferResult(_answer(choices))
    found = None
    with judged(ContractMismatch):
        found = parse_answer(result.as_numpy, MODEL)
    if found is not None:
        _use(found)


def _use(found: Detections) -> None:
    assert 0 <= len(found) <= D
    assert min(found.image_size) >= 1
    with judged():
        assert len(repr(found).splitlines()) == 1
        len(found.filter(min_score=0.5))
    with judged(ValueError):
        found.to_coco_results(1)
    if found.image_size[0] * found.image_size[1] <= _SMALL_PX:
        with judged(ValueError):
            assert found.masks().shape == (len(found), *found.image_size)


def _shape(spec: TensorSpec) -> list[int]:
    return [1, *({"D": D, "J": J}.get(str(side), side) for side in spec.shape)]  # type: ignore[misc]


def _answer(choices: FuzzedDataProvider) -> service_pb2.ModelInferResponse:
    """An answer, a few things of which are not as the contract has them."""
    answer = service_pb2.ModelInferResponse(model_name="maskrcnn")
    for spec in MASKRCNN.outputs:
        lie = choices.ConsumeIntInRange(0, 30)
        if lie == 1:
            continue
        shape = _shape(spec)
        if lie == 2:
            shape = [choices.PickValueInList([*NUMBERS[:9], *shape]) for _ in range(choices.ConsumeIntInRange(0, 4))]
        output = answer.outputs.add()
        output.name = spec.name
        output.shape.extend(max(min(side, 2**63 - 1), -(2**63)) for side in shape)
        output.datatype = choices.PickValueInList(list(DTYPES)) if lie in (3, 4) else spec.dtype
        raw = _values(choices, spec)
        if lie == 5:
            raw = raw[: choices.ConsumeIntInRange(0, len(raw))]
        if lie == 6:
            raw += choices.ConsumeBytes(3)
        if lie == 7:
            output.contents.int_contents.append(choices.ConsumeInt(4))
        else:
            answer.raw_output_contents.append(raw)
    return answer


def _values(choices: FuzzedDataProvider, spec: TensorSpec) -> bytes:
    """The bytes of an output: mostly values that the contract allows."""
    if spec.name == "mask_rle":
        texts = [rle.encode_counts([100, 20, SIZE[0] * SIZE[1] - 120]) for _ in range(D)]
        if choices.ConsumeIntInRange(0, 3) == 0:
            texts[0] = choices.ConsumeBytes(choices.ConsumeIntInRange(0, 20))
        sizes = [len(text) for text in texts]
        if choices.ConsumeIntInRange(0, 9) == 0:
            sizes[choices.ConsumeIntInRange(0, D - 1)] = choices.PickValueInList([0, 1, 2**31, 2**32 - 1])
        return b"".join(struct.pack("<I", size) + text for size, text in zip(sizes, texts, strict=True))
    good = {"num_detections": [choices.ConsumeIntInRange(-1, D + 1)], "image_size": list(SIZE)}
    count = 1
    for side in _shape(spec):
        count *= side
    values = good.get(spec.name) or [choices.ConsumeIntInRange(0, 1) for _ in range(count)]
    if choices.ConsumeIntInRange(0, 4) == 0:
        wrong = [0, -1, 2, 2**31 - 1, -(2**31)] if spec.dtype == "INT32" else [float("nan"), float("inf"), -1e38]
        values[choices.ConsumeIntInRange(0, len(values) - 1)] = choices.PickValueInList(wrong)
    return struct.pack(f"<{len(values)}{'i' if spec.dtype == 'INT32' else 'f'}", *values)


def _metadata(choices: FuzzedDataProvider) -> service_pb2.ModelMetadataResponse:
    metadata = service_pb2.ModelMetadataResponse(name="maskrcnn", platform="ensemble")
    for tensors, specs in ((metadata.inputs, MASKRCNN.inputs), (metadata.outputs, MASKRCNN.outputs)):
        for spec in specs:
            lie = choices.ConsumeIntInRange(0, 40)
            if lie == 1:
                continue
            tensor = tensors.add()
            tensor.name = "other" if lie == 2 else spec.name
            tensor.datatype = choices.PickValueInList(list(DTYPES)) if lie == 3 else spec.dtype
            shape = [-1, *_shape(spec)[1:]]
            tensor.shape.extend(choices.PickValueInList(list(NUMBERS[:9])) if lie == 4 else side for side in shape)
    return metadata


def _config(choices: FuzzedDataProvider) -> service_pb2.ModelConfigResponse:
    config = service_pb2.ModelConfigResponse()
    points = {"names": ["nose", "left", "right"], "flip_pairs": [["left", "right"]], "sigmas": [0.1, 0.2, 0.3]}
    for key, value in (("labels", ["cat", "dog"]), ("keypoints", points)):
        if choices.ConsumeIntInRange(0, 30) != 1:
            text = json_file(value, choices).decode(errors="replace")
            config.config.parameters[key].string_value = text
    config.config.parameters["artifact_sha256"].string_value = choices.ConsumeUnicodeNoSurrogates(8)
    return config
