"""ProposalNMS: numpy reference, torch path, and both ONNX bodies against float64 loops."""

import dataclasses
import math

import numpy as np
import pytest
import reference
import torch
from maskline_export.custom_ops import proposal_nms as proposal_nms_op
from maskline_export.custom_ops.proposal_nms import ProposalNMS
from maskline_export.onnx_stages.twins import from_anchors_of_the_stride, without_low_scores
from maskline_train.model.rpn import proposal_nms
from maskline_train.spec import AnchorSpec, ProposalSpec
from support.export.onnx_ops import Array, float32, run_op
from support.models.tiny import tiny_spec

# Coordinates up to 160 px pass through an exponential and a handful of float32 operations, each good to 2^-24 of at
# most 1e3 px.
TOLERANCE_PX = 2e-3

BASE = ProposalNMS(
    strides=(4, 8, 16, 32, 64),
    anchor_sizes=(8.0, 16.0, 32.0, 64.0, 128.0),
    aspect_ratios=(0.5, 1.0, 2.0),
    anchor_rounded=False,
    anchor_centre_offset=0.0,
    pre_nms_per_level=40,
    max_proposals=30,
    nms_thresh=0.5,
    min_side=1e-3,
)


def rpn_outputs(height: int, width: int, batch: int, seed: int = 0, spread: float = 0.4) -> tuple[list[Array], ...]:
    """Logits and deltas of a canvas; `spread` is the standard deviation of the deltas."""
    rng = np.random.default_rng(seed)
    sizes = [(math.ceil(height / s), math.ceil(width / s)) for s in BASE.strides]
    logits = [float32(rng.standard_normal((batch, 3, h, w))) for h, w in sizes]
    deltas = [float32(spread * rng.standard_normal((batch, 12, h, w))) for h, w in sizes]
    return logits, deltas


def info(*sizes: tuple[float, float]) -> Array:
    """image_info of images of these resized sizes (height, width)."""
    return float32([[h, w, 1, 1, h, w] for h, w in sizes])


def by_torch(op: ProposalNMS, image_info: Array, logits: list[Array], deltas: list[Array]) -> list[Array]:
    anchors = AnchorSpec(op.anchor_sizes, op.aspect_ratios, op.anchor_rounded, op.anchor_centre_offset)
    spec = ProposalSpec(op.pre_nms_per_level, op.max_proposals, op.nms_thresh, op.min_side)
    levels = ([torch.from_numpy(x) for x in logits], [torch.from_numpy(x) for x in deltas])
    proposals, num = proposal_nms(*levels, torch.from_numpy(image_info), anchors, spec, int(math.log2(op.strides[0])))
    return [proposals.numpy(), num.numpy().astype(np.int32)]


def all_agree(op: ProposalNMS, image_info: Array, logits: list[Array], deltas: list[Array]) -> list[int]:
    """Check the four implementations against the loops; the number of proposals of each image."""
    expected = reference.proposal_nms(op, image_info, logits, deltas)
    inputs = [image_info, *logits, *deltas]
    for name, (proposals, num) in {
        "numpy": proposal_nms_op.reference(op, image_info, logits, deltas),
        "torch": by_torch(op, image_info, logits, deltas),
        "ort": run_op(proposal_nms_op.body_ort(op), op, inputs),
        "dense": run_op(proposal_nms_op.body_dense(op), op, inputs),
    }.items():
        assert proposals.shape == (len(image_info), op.max_proposals, 4), name
        assert num.dtype == np.int32, name
        assert num.tolist() == [len(boxes) for boxes in expected], name
        for image, boxes in enumerate(expected):
            np.testing.assert_allclose(proposals[image, : len(boxes)], boxes, atol=TOLERANCE_PX, rtol=0, err_msg=name)
            assert not proposals[image, len(boxes) :].any(), name
    return [len(boxes) for boxes in expected]


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_batches(batch: int) -> None:
    image_info = info(*[(96 - 5 * image, 128 - 9 * image) for image in range(batch)])
    assert set(all_agree(BASE, image_info, *rpn_outputs(96, 128, batch))) == {BASE.max_proposals}


@pytest.mark.parametrize(
    "change",
    [
        {"anchor_rounded": True},  # torchvision's anchors
        {"anchor_centre_offset": 0.5},  # centres of cells
        {"pre_nms_per_level": 7},  # fewer candidates
        {"nms_thresh": 0.2},  # long chains: a box that would drop another is itself dropped
        {"min_side": 12.0},  # drops most of P2
        {"max_proposals": 5},
        {"aspect_ratios": (1.0, 3.0, 0.25)},  # another order
        {"anchor_sizes": (10.0, 20.0, 30.0, 40.0, 50.0)},
    ],
    ids=str,
)
def test_every_attribute_counts(change: dict[str, float]) -> None:
    image_info, outputs = info((90, 120)), rpn_outputs(96, 128, 1)
    op = dataclasses.replace(BASE, **change)
    all_agree(op, image_info, *outputs)
    ours, base = (
        reference.proposal_nms(op, image_info, *outputs)[0],
        reference.proposal_nms(BASE, image_info, *outputs)[0],
    )
    assert ours.shape != base.shape or np.abs(ours - base).max() > 10 * TOLERANCE_PX


@pytest.mark.parametrize("thresh", [0.3, 0.6, 0.95])
def test_the_score_cut_of_a_network_holds_in_every_body(thresh: float) -> None:
    """The op has none; the stage that holds it takes the sides of boxes below the cut away."""
    image_info, (logits, deltas) = info((90, 120), (96, 128)), rpn_outputs(96, 128, 2)
    scored = [torch.from_numpy(x) for x in logits], [torch.from_numpy(x) for x in deltas]
    cut = [without_low_scores(*level, thresh).numpy() for level in zip(*scored, strict=True)]
    counts = all_agree(BASE, image_info, logits, cut)
    anchors = AnchorSpec(BASE.anchor_sizes, BASE.aspect_ratios)
    spec = ProposalSpec(BASE.pre_nms_per_level, BASE.max_proposals, BASE.nms_thresh, BASE.min_side, thresh)
    proposals, num = proposal_nms(*scored, torch.from_numpy(image_info), anchors, spec)
    assert num.tolist() == counts
    assert (min(counts) < BASE.max_proposals) == (thresh == 0.95)
    ours = by_torch(BASE, image_info, logits, cut)[0]
    np.testing.assert_allclose(ours, proposals.numpy(), atol=TOLERANCE_PX, rtol=0)


@pytest.mark.parametrize("canvas", [(96, 160), (160, 224), (128, 192)])
def test_anchors_of_the_cells_stride_hold_in_every_body(canvas: tuple[int, int]) -> None:
    """The op has those of the level's stride; the stage that holds it moves the deltas of P6 by the difference."""
    spec = dataclasses.replace(tiny_spec(), anchors=AnchorSpec(BASE.anchor_sizes, rounded=True, stride_of_cells=True))
    op, image_info = dataclasses.replace(BASE, anchor_rounded=True), info(canvas, (90, 120))
    logits, deltas = rpn_outputs(*canvas, 2)
    logits[4] = logits[4] + np.float32(9)  # so that what is found on P6 is among the best
    of_p6 = from_anchors_of_the_stride(torch.from_numpy(deltas[4]), canvas, spec).numpy()
    counts = all_agree(op, image_info, logits, [*deltas[:4], of_p6])
    counts_of = ProposalSpec(op.pre_nms_per_level, op.max_proposals, op.nms_thresh, op.min_side)
    levels = [torch.from_numpy(x) for x in logits], [torch.from_numpy(x) for x in deltas]
    expected, num = proposal_nms(*levels, torch.from_numpy(image_info), spec.anchors, counts_of)
    assert num.tolist() == counts
    found = by_torch(op, image_info, logits, [*deltas[:4], of_p6])[0]
    np.testing.assert_allclose(found, expected.numpy(), atol=TOLERANCE_PX, rtol=0)
    unmoved = by_torch(op, image_info, logits, deltas)[0]
    assert (np.abs(unmoved - expected.numpy()).max() > 1) == (canvas != (128, 192))  # which 64 divides


def test_several_sizes_on_one_level() -> None:
    """The anchors of C4 and C5: every size and ratio on each cell of one level, by size, then by ratio."""
    op = dataclasses.replace(BASE, strides=(16,), anchor_sizes=(16.0, 32.0, 64.0), pre_nms_per_level=100)
    rng = np.random.default_rng(3)
    logits, deltas = rng.standard_normal((2, 9, 6, 8)), 0.4 * rng.standard_normal((2, 36, 6, 8))
    assert min(all_agree(op, info((96, 128), (80, 90)), [float32(logits)], [float32(deltas)])) > 10


def test_fewer_anchors_than_candidates_and_fewer_proposals_than_r() -> None:
    """A 32 x 32 canvas has 3 anchors on each of P5 and P6; all levels together give fewer than R proposals."""
    op = dataclasses.replace(BASE, pre_nms_per_level=500, max_proposals=400)
    (count,) = all_agree(op, info((32, 32)), *rpn_outputs(32, 32, 1))
    assert 0 < count < 64 * 3 + 16 * 3


def test_more_rows_than_candidates() -> None:
    """R is larger than what all levels together can hold."""
    op = dataclasses.replace(BASE, pre_nms_per_level=3, max_proposals=40)
    (count,) = all_agree(op, info((32, 64)), *rpn_outputs(32, 64, 1))
    assert count <= 15


@pytest.mark.parametrize("size", [(32, 32), (64, 160), (96, 96), (160, 32)])
def test_canvases_of_any_multiple_of_32(size: tuple[int, int]) -> None:
    all_agree(BASE, info(size), *rpn_outputs(*size, 1))


def test_ties_keep_the_lower_anchor_and_the_lower_level() -> None:
    logits, deltas = rpn_outputs(64, 64, 2)
    all_agree(BASE, info((64, 64), (50, 64)), [np.round(level) for level in logits], deltas)
    all_agree(BASE, info((64, 64), (50, 64)), [np.zeros_like(level) for level in logits], deltas)


def test_identical_boxes_leave_one() -> None:
    """Huge boxes are all clipped to the image: one a level survives."""
    logits, deltas = rpn_outputs(64, 64, 1)
    for level in deltas:
        level[:, 2::4], level[:, 3::4] = 50.0, 50.0  # beyond the clamp of 1000 / 16
    assert all_agree(BASE, info((60, 60)), logits, deltas) == [5]


def test_no_proposal_at_all() -> None:
    op = dataclasses.replace(BASE, min_side=1000.0)
    assert all_agree(op, info((96, 128), (96, 128)), *rpn_outputs(96, 128, 2)) == [0, 0]


def test_one_proposal_in_one_image_of_a_batch() -> None:
    logits, deltas = rpn_outputs(64, 64, 2, spread=0.0)
    for level in deltas:
        level[:, 2::4] = -100.0  # width 0: dropped
    logits[0][1, 0, 5, 5], deltas[0][1, 2, 5, 5] = 9.0, 0.0
    assert all_agree(BASE, info((64, 64), (64, 64)), logits, deltas) == [0, 1]


def test_boxes_outside_the_image_are_dropped() -> None:
    """The image is the left upper corner of its canvas; anchors beyond it have no area once clipped."""
    (count,) = all_agree(BASE, info((16, 16)), *rpn_outputs(96, 128, 1, spread=0.1))
    assert 0 < count < BASE.max_proposals
