"""Answers of a server that lies: refused as no contract of ours, in one line, whatever their bytes are."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest
from maskline_client import ContractMismatch, rle
from maskline_client.calling.answer import parse_answer
from maskline_client.contract import MASKRCNN
from maskline_client.served_model import KeypointNames, ServedModel
from tritonclient import grpc as triton
from tritonclient.grpc import service_pb2

D, SIZE = 2, (4, 6)
MODEL = ServedModel(("cat",), MASKRCNN.outputs, D, KeypointNames(("nose",)))
TEXT = rle.encode_counts([10, 4, 10])
VALUES = {
    "num_detections": ("INT32", [1, 1], struct.pack("<i", D)),
    "boxes": ("FP32", [1, D, 4], bytes(4 * 4 * D)),
    "scores": ("FP32", [1, D], bytes(4 * D)),
    "labels": ("INT32", [1, D], bytes(4 * D)),
    "mask_rle": ("BYTES", [1, D], (struct.pack("<I", len(TEXT)) + TEXT) * D),
    "keypoints": ("FP32", [1, D, 1, 3], bytes(4 * 3 * D)),
    "image_size": ("INT32", [1, 2], struct.pack("<2i", *SIZE)),
}


def outputs(**changes: tuple[str, list[int], bytes]) -> Callable[[str], np.ndarray]:
    answer = service_pb2.ModelInferResponse()
    for name, (dtype, shape, raw) in {**VALUES, **changes}.items():
        tensor = answer.outputs.add()
        tensor.name, tensor.datatype = name, dtype
        tensor.shape.extend(shape)
        answer.raw_output_contents.append(raw)
    return triton.InferResult(answer).as_numpy


def test_the_answer_that_is_changed_below_is_read() -> None:
    found = parse_answer(outputs(), MODEL)
    assert (len(found), found.image_size) == (D, SIZE)
    assert found.masks().sum() == 4 * D


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        # tritonclient raises ValueError and struct.error for bytes that do not fit.
        ("boxes", ("FP32", [1, D, 4], b"\0" * 7), "output boxes: got bytes that are no FP32"),
        ("mask_rle", ("BYTES", [1, D], struct.pack("<I", 2**30)), "output mask_rle: got bytes that are no BYTES"),
        ("mask_rle", ("INT64", [1, D], struct.pack("<2q", 2**40, 1)), "output mask_rle: got int64, expected BYTES"),
        ("scores", ("INT32", [1, D], bytes(4 * D)), "output scores: got int32, expected FP32"),
        ("mask_rle", ("BYTES", [1, D], struct.pack("<I", 1) + b"\xff" + bytes(4)), "mask_rle: got bytes beyond ASCII"),
        ("image_size", ("INT32", [1, 2], struct.pack("<2i", -4, -6)), "image_size: got -4 x -6"),
        ("image_size", ("INT32", [1, 2], struct.pack("<2i", 2**30, 2**30)), "image_size: got 1073741824 x 1073741824"),
        ("num_detections", ("INT32", [1, 1], struct.pack("<i", D + 1)), "num_detections: got 3, expected 0 to 2"),
    ],
)
def test_an_answer_that_lies_is_refused_in_one_line(name: str, change: tuple[str, list[int], bytes], said: str) -> None:
    with pytest.raises(ContractMismatch) as caught:
        parse_answer(outputs(**{name: change}), MODEL)
    assert str(caught.value).startswith(said)
    assert len(str(caught.value).splitlines()) == 1
