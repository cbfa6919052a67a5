"""Runs ProposalNMS and ClasswiseNMS on one device; every answer is checked for elements left unwritten.

Letters: B images, L levels, A anchors a cell, Hi Wi level i, R proposals an image, K classes, D detections an image.
"""

from __future__ import annotations

import ctypes
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import device
import numpy as np
import numpy.typing as npt
import ort_runner
import torch
from maskline_host.classwise_nms import ClasswiseNMS, Detections, classwise_nms
from maskline_host.classwise_nms import config_of as classwise_config
from maskline_host.proposal_nms import ProposalNMS, proposal_nms
from maskline_host.proposal_nms import config_of as proposal_config

Array = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
DetectionInputs = tuple[Array, Array, Array, Ints, Array]
GUARD_BYTES = 256  # after the workspace; must not change
ALIGNMENT_BYTES = 256  # of the workspace
RUBBISH = 0x7F  # what memory holds before a call: no number that an answer has


def run_proposal_nms(
    where: str, op: ProposalNMS, info: Array, logits: Sequence[Array], deltas: Sequence[Array], seed: int = 0
) -> tuple[Array, Ints]:
    """Proposals [B, R, 4] and num_proposals [B]; `seed` decides the order of threads where the device is `simt`."""
    if where.startswith("host"):
        with device.host(where):
            return proposal_nms(op, info, logits, deltas, threads=2)
    if where.startswith("ort"):
        found = ort_runner.run(where, "ProposalNMS", op, [info, *logits, *deltas])
        return found[0], found[1]
    config = proposal_config(op, len(info), [(level.shape[2], level.shape[3]) for level in logits])
    outputs = [_rubbish((len(info), op.max_proposals, 4), np.float32), _rubbish((len(info),), np.int32)]

    def arguments(pointers: list[int]) -> list[Any]:
        levels = len(logits)
        arrays = [(ctypes.c_void_p * levels)(*pointers[1 + i * levels :][:levels]) for i in range(2)]
        return [ctypes.c_void_p(pointers[0]), *arrays, *map(ctypes.c_void_p, pointers[1 + 2 * levels :])]

    _run(where, "proposal_nms", config, [info, *logits, *deltas], outputs, arguments, seed)
    return outputs[0], outputs[1]


def run_classwise_nms(where: str, op: ClasswiseNMS, inputs: DetectionInputs, seed: int = 0) -> Detections:
    """Detections; `seed` as above."""
    if where.startswith("host"):
        with device.host(where):
            return classwise_nms(op, *inputs, threads=2)
    if where.startswith("ort"):
        return Detections(*ort_runner.run(where, "ClasswiseNMS", op, inputs))
    batch, rows = inputs[2].shape[:2]
    shapes = (((batch, op.max_detections, 4), np.float32), ((batch, op.max_detections), np.float32))
    counts = (((batch, op.max_detections), np.int32), ((batch, 1), np.int32))
    outputs = [_rubbish(shape, dtype) for shape, dtype in (*shapes, *counts)]
    config = classwise_config(op, batch, rows)
    _run(where, "classwise_nms", config, inputs, outputs, lambda pointers: [*map(ctypes.c_void_p, pointers)], seed)
    return Detections(*outputs)


def same_bytes(a: Any, b: Any) -> bool:
    """Whether two answers of either op are the same to the bit."""
    left, right = (tuple(vars(each).values()) if dataclasses.is_dataclass(each) else each for each in (a, b))
    return all(x.tobytes() == y.tobytes() for x, y in zip(left, right, strict=True))


def rpn_outputs(
    op: ProposalNMS, height: int, width: int, batch: int, *, seed: int = 0, spread: float = 0.4
) -> tuple[list[Array], list[Array]]:
    """Random logits and deltas of a canvas; `spread` is the standard deviation of the deltas."""
    rng = np.random.default_rng(seed)
    sizes = [(math.ceil(height / stride), math.ceil(width / stride)) for stride in op.strides]
    anchors = op.anchors_per_cell
    logits = [rng.standard_normal((batch, anchors, *size)).astype(np.float32) for size in sizes]
    deltas = [(spread * rng.standard_normal((batch, 4 * anchors, *size))).astype(np.float32) for size in sizes]
    return logits, deltas


def image_info(*sizes: tuple[float, float]) -> Array:
    """Of images of these resized sizes (height, width)."""
    return np.array([[height, width, 1, 1, height, width] for height, width in sizes], np.float32).reshape(-1, 6)


def head_outputs(
    counts: Sequence[int], rows: int, classes: int, *, seed: int = 0, spread: float = 1.0, logit_spread: float = 2.0
) -> DetectionInputs:
    """Inputs of ClasswiseNMS: `counts` real proposals of `rows` on 96 x 128 images; padding rows hold rubbish."""
    rng = np.random.default_rng(seed)
    batch = len(counts)
    start = rng.uniform(0, 80, (batch, rows, 2))
    proposals = np.concatenate([start, start + rng.uniform(8, 50, (batch, rows, 2))], axis=-1)
    return (
        (logit_spread * rng.standard_normal((batch * rows, classes + 1))).astype(np.float32),
        (spread * rng.standard_normal((batch * rows, 4 * classes))).astype(np.float32),
        proposals.astype(np.float32),
        np.array(counts, np.int32),
        image_info(*[(96, 128)] * batch),
    )


def softmax(logits: Array) -> npt.NDArray[np.float64]:
    """Scores of the rows of [N, K+1] logits, in float64."""
    exponents = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    scores: npt.NDArray[np.float64] = exponents / exponents.sum(axis=1, keepdims=True)
    return scores


def _rubbish(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    array = np.empty(shape, dtype)
    array.view(np.uint8).fill(RUBBISH)
    return array


def _run(
    where: str,
    name: str,
    config: ctypes.Structure,
    inputs: Sequence[npt.NDArray[Any]],
    outputs: list[npt.NDArray[Any]],
    arguments: Any,
    seed: int,
) -> None:
    """Call the device interface of an op; `outputs` are overwritten in place."""
    found = device.simt(seed) if where == "simt" else device.cuda()
    bytes_needed = ctypes.c_size_t()
    size_of = getattr(found, f"maskline_device_{name}_workspace")
    device.check(found, size_of(ctypes.byref(config), ctypes.byref(bytes_needed)))
    size = bytes_needed.value
    memory = torch.full((size + ALIGNMENT_BYTES + GUARD_BYTES,), RUBBISH, dtype=torch.uint8)
    tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in (*inputs, *outputs)]
    if where == "cuda":
        memory, tensors = memory.cuda(), [tensor.cuda() for tensor in tensors]
    offset = -memory.data_ptr() % ALIGNMENT_BYTES
    stream = torch.cuda.current_stream().cuda_stream if where == "cuda" else None
    call = getattr(found, f"maskline_device_{name}")
    pointers = arguments([tensor.data_ptr() for tensor in tensors])
    workspace = ctypes.c_void_p(memory.data_ptr() + offset)
    device.check(found, call(ctypes.byref(config), *pointers, workspace, ctypes.c_void_p(stream)))
    assert (memory[offset + size :].cpu() == RUBBISH).all(), "wrote past the workspace"
    for output, tensor in zip(outputs, tensors[len(inputs) :], strict=True):
        output[...] = tensor.cpu().numpy()
