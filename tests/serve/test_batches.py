"""Batches, object counts and mixed orientations through the real server, compared with what the stand-in must say."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco
from serve import standin
from serve.conftest import Pending, send, step_of
from tritonclient import grpc as triton

pytestmark = pytest.mark.triton

D = standin.SPEC.box_head.max_detections
M = standin.SPEC.mask_head.mask_side
LANDSCAPE, PORTRAIT, SQUARE = (40, 80), (80, 40), (60, 60)  # multiples of 20: masks end on pixel borders
# The stand-in's boxes go original -> canvas -> original in float32: two roundings of numbers below 128.
BOX_TOLERANCE_PX = 1e-3


def check_row(answer, row, count, size):
    """One image's answer: count, boxes, scores, labels, masks and padding."""
    assert answer["num_detections"][row, 0] == count
    np.testing.assert_allclose(answer["boxes"][row, :count], standin.expected_boxes(count, size), atol=BOX_TOLERANCE_PX)
    np.testing.assert_allclose(answer["scores"][row, :count], 0.99 - 0.005 * np.arange(count), atol=1e-6)
    assert answer["labels"][row].tolist() == [d % 3 for d in range(count)] + [-1] * (D - count)
    assert not answer["boxes"][row, count:].any()
    assert not answer["scores"][row, count:].any()
    if "image_size" in answer:
        assert answer["image_size"][row].tolist() == list(size)
    if "mask_rle" in answer:
        check_masks(answer["mask_rle"][row], count, size)
    if "keypoints" in answer:
        j = answer["keypoints"].shape[2]
        expected = standin.expected_keypoints(count, size, j)
        np.testing.assert_allclose(answer["keypoints"][row, :count], expected, atol=BOX_TOLERANCE_PX)
        assert not answer["keypoints"][row, count:].any()
    if "masks" in answer:
        assert answer["masks"][row].shape == (D, M, M)
        assert (answer["masks"][row, :count, :, : M // 2] == 1).all()
        assert not answer["masks"][row, :count, :, M // 2 :].any()
        assert not answer["masks"][row, count:].any()


def check_masks(counts, count, size):
    """Every mask pixel for pixel, decoded by pycocotools; empty strings in padding rows."""
    assert [len(text) > 0 for text in counts] == [d < count for d in range(D)]
    for d in range(count):
        decoded = coco.decode({"size": list(size), "counts": counts[d]})
        assert (decoded.astype(bool) == standin.expected_mask(size, d)).all(), f"object {d}"


@pytest.mark.parametrize("model", ["maskrcnn", "maskrcnn_raw"])
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_every_count_in_every_slot(client, model, batch):
    cycle = [0, 1, D]
    for turn in range(len(cycle)):  # over the three turns, each slot has each count once
        counts = [cycle[(slot + turn) % len(cycle)] for slot in range(batch)]
        answer = send(client, [standin.picture(count, LANDSCAPE) for count in counts], model)
        assert answer["num_detections"].shape == (batch, 1)
        for slot, count in enumerate(counts):
            check_row(answer, slot, count, LANDSCAPE)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_engines_take_a_canvas(client, batch):
    counts = [(0, 1, D)[slot % 3] for slot in range(batch)]
    canvas = np.zeros((batch, 64, 96, 3), np.uint8)
    canvas[:] = np.array(counts, np.uint8)[:, None, None, None]
    info = np.tile(np.array([60, 80, 1, 1, 60, 80], np.float32), (batch, 1))
    inputs = [triton.InferInput("canvas", canvas.shape, "UINT8"), triton.InferInput("image_info", info.shape, "FP32")]
    inputs[0].set_data_from_numpy(canvas)
    inputs[1].set_data_from_numpy(info)
    result = client.infer("maskrcnn_engines", inputs)
    answer = {name: result.as_numpy(name) for name in ("num_detections", "boxes", "scores", "labels", "masks")}
    for slot, count in enumerate(counts):
        check_row(answer, slot, count, (60, 80))


def test_portrait_and_landscape_in_one_request(client):
    sizes = [LANDSCAPE, PORTRAIT, SQUARE, PORTRAIT]
    answer = send(client, [standin.picture(n, size) for n, size in enumerate(sizes, start=1)])
    for row, size in enumerate(sizes):
        check_row(answer, row, row + 1, size)


def test_portrait_and_landscape_in_one_stream(client):
    rng = np.random.default_rng(0)
    sent = [(int(rng.integers(0, D + 1)), (LANDSCAPE, PORTRAIT, SQUARE)[i % 3]) for i in range(36)]
    pending = [Pending(client, [standin.picture(count, size)]) for count, size in sent]
    for (count, size), request in zip(sent, pending, strict=True):
        check_row(request.answer(), 0, count, size)


def test_requests_of_several_sizes_join_one_batch(client):
    """Image files always batch, whatever their size; the answers still go to their own requests.

    On a busy machine the small ones may come when the large one is done, so there are several tries.
    """
    before, large = _batches(client), standin.picture(1, (2000, 3000))
    for _ in range(5):
        slow = Pending(client, [large], "maskrcnn_raw")
        pending = [Pending(client, [standin.picture(n, LANDSCAPE if n % 2 else PORTRAIT)]) for n in range(7)]
        check_row(slow.answer(), 0, 1, (2000, 3000))
        for n, request in enumerate(pending):
            check_row(request.answer(), 0, n, LANDSCAPE if n % 2 else PORTRAIT)
        joined = {size: n - before.get(size, 0) for size, n in _batches(client).items()}
        if any(size > 1 and n > 0 for size, n in joined.items()):
            return
    pytest.fail(f"no batch in five tries: {joined}")


def _batches(client):
    """How often `preprocess` ran with each batch size."""
    stats = client.get_inference_statistics(step_of(client, "preprocess")).model_stats[0].batch_stats
    return {entry.batch_size: entry.compute_infer.count for entry in stats}
