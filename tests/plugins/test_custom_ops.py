"""libmaskline_ort.so in ONNX Runtime: it wins over bodies, works on the session's threads, says what is wrong."""

from __future__ import annotations

import dataclasses
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import device
import mask_rle_runner
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import ort_runner
import pytest
import roi_align_runner
from mask_rle_runner import Attributes as MaskRLE
from mask_rle_runner import info_of
from maskline_export.custom_ops.body import DOMAIN, OPSET
from maskline_host.classwise_nms import ClasswiseNMS
from maskline_host.proposal_nms import ProposalNMS
from nms_runner import head_outputs, image_info, rpn_outputs, run_classwise_nms, run_proposal_nms, same_bytes
from onnx import helper
from support.export import onnx_ops
from support.export.onnx_ops import feeds

ALIGN = roi_align_runner.Op(strides=(4, 8), pooled_side=3)
PROPOSALS = ProposalNMS((4, 8), (16.0, 32.0), (1.0,), False, 0.0, 50, 20, 0.7, 0.0)
DETECTIONS = ClasswiseNMS(3, 0.05, 0.5, 10, (10.0, 10.0, 5.0, 5.0), 0.0)
BOXES = roi_align_runner.random_boxes(32, 48, 1, 5)
MAPS = [level.float().numpy() for level in roi_align_runner.pyramid(32, 48, strides=(4, 8))]
LOGITS, DELTAS = rpn_outputs(PROPOSALS, 32, 48, 1)
MASKS = np.random.default_rng(0).uniform(-0.1, 1.2, (1, 6, 14, 14)).astype(np.float32)
PLACES = np.array(
    [[[2, 3, 30, 19], [0, 0, 48, 32], [5, 5, 9, 7], [1, 2, 47, 31], [0, 0, 0, 0], [40, 30, 50, 35]]], np.float32
)
INPUTS: dict[str, list[npt.NDArray[Any]]] = {
    "MultiscaleRoIAlign": [BOXES, *MAPS],
    "ProposalNMS": [image_info((32, 48)), *LOGITS, *DELTAS],
    "ClasswiseNMS": list(head_outputs([5], 5, 3)),
    "MaskRLE": [MASKS, PLACES, np.array([[6]], np.int32), np.array([info_of((32, 48))], np.float32)],
}
# Where the library of each half runs without a GPU; the ops' own tests take `ort-simt` for long ones and a GPU.
HALVES = ("ort-cpu", "ort-simt")


def one_node(op: str, attributes: Any, inputs: list[npt.NDArray[Any]]) -> bytes:
    return onnx_ops.one_node(op, attributes, inputs).SerializeToString()


def with_a_body_of_zeros(model: bytes) -> bytes:
    """The model with a body of its node that answers zeros: whoever answers otherwise is the library."""
    proto = onnx.load_from_string(model)
    node = proto.graph.node[0]
    body = [
        helper.make_node("Shape", [node.input[0]], ["shape"], start=0, end=1),
        helper.make_node("ConstantOfShape", ["shape"], [node.output[0]]),
    ]
    opsets = [helper.make_opsetid("", OPSET)]
    attributes = [attribute.name for attribute in node.attribute]
    proto.functions.append(
        helper.make_function(DOMAIN, node.op_type, list(node.input), list(node.output), body, opsets, attributes)
    )
    return proto.SerializeToString()


def test_it_wins_over_the_body_and_without_it_the_body_runs() -> None:
    model = with_a_body_of_zeros(one_node("MultiscaleRoIAlign", ALIGN, INPUTS["MultiscaleRoIAlign"]))
    body = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert not body.run(None, feeds(INPUTS["MultiscaleRoIAlign"]))[0].any()
    (found,) = ort_runner.make_session(model).run(None, feeds(INPUTS["MultiscaleRoIAlign"]))
    maps = [level.double() for level in roi_align_runner.pyramid(32, 48, strides=(4, 8))]
    roi_align_runner.assert_close(found, roi_align_runner.expected(ALIGN, maps, BOXES), "float32")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_half_for_cuda_gives_the_bytes_of_the_kernels(dtype: str) -> None:
    """Over the emulator, which is what `simt` calls without ONNX Runtime."""
    maps = roi_align_runner.pyramid(32, 48, strides=(4, 8))
    align = [roi_align_runner.run(where, ALIGN, maps, BOXES, dtype=dtype) for where in ("simt", "ort-simt")]
    assert align[0].any()
    assert align[0].tobytes() == align[1].tobytes()
    masks, boxes, count, info = INPUTS["MaskRLE"]
    runs = [mask_rle_runner.run(w, masks, boxes, count, info, 64, dtype=dtype) for w in ("simt", "ort-simt", "ort-cpu")]
    assert runs[0].num_counts.all()
    for other in runs[1:]:
        assert all(a.tobytes() == b.tobytes() for a, b in zip(runs[0], other, strict=True))


def test_the_half_for_cuda_has_the_workspace_that_it_asks_for() -> None:
    """Of both ops that need one; several levels and images, so that there is much of it."""
    info = image_info((32, 48), (30, 41))
    logits, deltas = rpn_outputs(PROPOSALS, 32, 48, 2)
    assert same_bytes(*(run_proposal_nms(w, PROPOSALS, info, logits, deltas) for w in ("simt", "ort-simt")))
    inputs = head_outputs([40, 33], 40, 3)
    assert same_bytes(*(run_classwise_nms(w, DETECTIONS, inputs) for w in ("simt", "ort-simt")))


@pytest.mark.parametrize(
    ("op", "attributes", "text"),
    [
        ("MultiscaleRoIAlign", dataclasses.replace(ALIGN, pooled_side=65), "pooled_side: got 65, expected 1..64"),
        ("MultiscaleRoIAlign", dataclasses.replace(ALIGN, pooled_side=1 << 40), "expected a number of 32 bits"),
        ("MultiscaleRoIAlign", dataclasses.replace(ALIGN, mode="mean"), 'mode: got "mean", expected one of align_avg'),
        ("MultiscaleRoIAlign", dataclasses.replace(ALIGN, strides=(4, 12)), "strides[1]: got 12, expected a power of"),
        ("MultiscaleRoIAlign", dataclasses.replace(ALIGN, aligned=2), "attribute aligned: got 2, expected 0 or 1"),
        ("ProposalNMS", dataclasses.replace(PROPOSALS, anchor_sizes=(16.0,)), "anchor_sizes: got 1 values, expected"),
        ("ProposalNMS", dataclasses.replace(PROPOSALS, nms_thresh=float("nan")), "nms_thresh: got nan, expected"),
        ("ClasswiseNMS", dataclasses.replace(DETECTIONS, delta_weights=(1.0,)), "got 1 floats, expected 4"),
        ("ClasswiseNMS", dataclasses.replace(DETECTIONS, num_classes=0), "num_classes: got 0, expected"),
        ("MaskRLE", MaskRLE(0), "max_counts: got 0, expected 1.."),
    ],
)
@pytest.mark.parametrize("where", HALVES)
def test_a_wrong_attribute_is_named_when_the_session_is_made(where: str, op: str, attributes: Any, text: str) -> None:
    with pytest.raises(Exception, match="maskline|" + op) as caught:
        ort_runner.make_session(one_node(op, attributes, INPUTS[op]), where)
    assert f"{op}: " in str(caught.value)
    assert text in str(caught.value)


def test_a_missing_attribute_and_one_of_another_type_are_named() -> None:
    proto = onnx.load_from_string(one_node("ClasswiseNMS", DETECTIONS, INPUTS["ClasswiseNMS"]))
    node = proto.graph.node[0]
    kept = [attribute for attribute in node.attribute if attribute.name != "score_thresh"]
    del node.attribute[:]
    node.attribute.extend(kept)
    with pytest.raises(Exception, match="ClasswiseNMS: attribute score_thresh: expected one float, got none"):
        ort_runner.make_session(proto.SerializeToString())
    node.attribute.append(helper.make_attribute("score_thresh", 1))
    with pytest.raises(Exception, match="ClasswiseNMS: attribute score_thresh: expected one float, got none"):
        ort_runner.make_session(proto.SerializeToString())


@pytest.mark.parametrize(
    ("op", "attributes", "position", "shape", "text"),
    [
        ("MultiscaleRoIAlign", ALIGN, 0, (1, 5, 3), "input boxes: got shape [1,5,3], expected dimension 2 to be 4"),
        ("MultiscaleRoIAlign", ALIGN, 2, (2, 3, 4, 6), "input features of stride 8: got shape [2,3,4,6], expected"),
        ("ProposalNMS", PROPOSALS, 1, (1, 2, 8, 12), "input logits of stride 4: got shape [1,2,8,12], expected"),
        ("ProposalNMS", PROPOSALS, 0, (1, 5), "input image_info: got shape [1,5], expected dimension 1 to be 6"),
        ("ClasswiseNMS", DETECTIONS, 1, (5, 9), "input box_deltas: got shape [5,9], expected dimension 1 to be 12"),
        ("MaskRLE", MaskRLE(64), 0, (1, 6, 64, 64), "masks: got side 64, expected 1..63"),
    ],
)
@pytest.mark.parametrize("where", HALVES)
def test_a_wrong_shape_fails_its_run_alone(
    where: str, op: str, attributes: Any, position: int, shape: tuple[int, ...], text: str
) -> None:
    session = ort_runner.make_session(one_node(op, attributes, INPUTS[op]), where)
    inputs = list(INPUTS[op])
    inputs[position] = np.zeros(shape, np.float32)
    with pytest.raises(Exception, match=op) as caught:
        session.run(None, feeds(inputs))
    assert f"{op}: {text}" in str(caught.value)
    assert session.run(None, feeds(INPUTS[op]))


def test_another_number_of_inputs_is_named() -> None:
    model = one_node("ProposalNMS", PROPOSALS, INPUTS["ProposalNMS"][:-1])
    with pytest.raises(Exception, match=r"ProposalNMS: got 4 inputs, expected 5 \(image_info \.\. deltas of stride"):
        ort_runner.make_session(model)


def test_the_shapes_of_outputs_are_known_before_a_run() -> None:
    proto = onnx.load_from_string(one_node("ProposalNMS", PROPOSALS, INPUTS["ProposalNMS"]))
    for value in proto.graph.input:
        value.type.tensor_type.shape.dim[0].dim_param = "B"
    found = {value.name: value.shape for value in ort_runner.make_session(proto.SerializeToString()).get_outputs()}
    assert found == {"output_0": ["B", 20, 4], "output_1": ["B"]}


@pytest.mark.parametrize("where", [*HALVES, device.ORT_CUDA_ROW])
def test_two_sessions_in_two_threads_answer_the_same(where: str) -> None:
    model = one_node("ClasswiseNMS", DETECTIONS, INPUTS["ClasswiseNMS"])
    alone = ort_runner.make_session(model, where).run(None, feeds(INPUTS["ClasswiseNMS"]))
    sessions = [ort_runner.make_session.__wrapped__(model, where) for _ in range(2)]

    def many(session: ort.InferenceSession) -> bool:
        runs = [session.run(None, feeds(INPUTS["ClasswiseNMS"])) for _ in range(50)]
        return all(a.tobytes() == b.tobytes() for run in runs for a, b in zip(run, alone, strict=True))

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(many, sessions)) == [True, True]


@pytest.mark.parametrize("where", [*HALVES, device.ORT_CUDA_ROW])
def test_threads_share_a_session_and_its_scratch_memory(where: str) -> None:
    """Runs of other sizes at the same time: what one queues must not be overwritten by the next."""
    session = ort_runner.make_session(one_node("ProposalNMS", PROPOSALS, INPUTS["ProposalNMS"]), where)
    sizes = [(32, 48), (64, 96), (96, 64), (128, 160)]
    inputs = [[image_info(size), *(x for side in rpn_outputs(PROPOSALS, *size, 1) for x in side)] for size in sizes]
    alone = [session.run(None, feeds(each)) for each in inputs]

    def many(first: int) -> bool:
        turns = [(first + i) % len(inputs) for i in range(8 if where == "ort-simt" else 100)]
        runs = [(i, session.run(None, feeds(inputs[i]))) for i in turns]
        return all(a.tobytes() == b.tobytes() for i, run in runs for a, b in zip(run, alone[i], strict=True))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(many, range(4))) == [True] * 4


def test_it_works_on_the_threads_of_the_session() -> None:
    """The op's own loops would start threads for each call; a watcher would see more of them than before."""
    boxes = roi_align_runner.random_boxes(256, 256, 2, 400)
    maps = [level.float().numpy() for level in roi_align_runner.pyramid(256, 256, images=2, channels=64)]
    op = roi_align_runner.Op()
    session = ort_runner.make_session(one_node("MultiscaleRoIAlign", op, [boxes, *maps]))
    tasks, seen, done = Path("/proc/self/task"), set[int](), threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.add(len(list(tasks.iterdir())))
            time.sleep(1e-4)

    watcher = threading.Thread(target=watch)
    watcher.start()
    before = len(list(tasks.iterdir()))
    for _ in range(20):
        session.run(None, feeds([boxes, *maps]))
    done.set()
    watcher.join()
    assert len(seen) >= 1
    assert max(seen) <= before
