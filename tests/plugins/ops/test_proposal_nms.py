"""ProposalNMS on every device: against float64 loops, torchvision, ONNX Runtime and the numpy reference."""

from __future__ import annotations

import dataclasses

import device
import numpy as np
import pytest
import reference
import tolerances
import torch
from maskline_export.custom_ops import proposal_nms as exported
from maskline_export.onnx_stages.twins import without_low_scores
from maskline_host import HostLibraryError
from maskline_host.proposal_nms import ProposalNMS, proposal_nms
from nms_runner import Array, image_info, rpn_outputs, run_proposal_nms, same_bytes
from support.export.onnx_ops import run_op
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import AnchorGenerator, RegionProposalNetwork, RPNHead

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
# One level of 3 x 16 x 16 anchors.
ONE_LEVEL = dataclasses.replace(BASE, strides=(4,), anchor_sizes=(8.0,))
Outputs = tuple[list[Array], list[Array]]
on_every_device = pytest.mark.parametrize("where", device.DEVICES)


def check(where: str, op: ProposalNMS, info: Array, outputs: Outputs) -> list[int]:
    """Run the op and compare it with the oracle; the number of proposals of each image."""
    proposals, num = run_proposal_nms(where, op, info, *outputs)
    expected = reference.proposal_nms(op, info, *outputs)
    assert num.tolist() == [len(boxes) for boxes in expected]
    for image, boxes in enumerate(expected):
        count = len(boxes)
        np.testing.assert_allclose(proposals[image, :count], boxes, atol=tolerances.BOXES_PX, rtol=0)
        assert not proposals[image, count:].any()
    return [int(count) for count in num]


@on_every_device
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_batches(where: str, batch: int) -> None:
    info = image_info(*[(96 - 5 * image, 128 - 9 * image) for image in range(batch)])
    assert set(check(where, BASE, info, rpn_outputs(BASE, 96, 128, batch))) == {BASE.max_proposals}


@on_every_device
@pytest.mark.parametrize("min_side", [1e-3, 1e-6])
def test_an_anchor_below_the_score_cut_of_a_network_is_dropped(where: str, min_side: float) -> None:
    """Its box gets no sides (`without_low_scores`), which every device has to drop as the oracle does."""
    op, info = dataclasses.replace(BASE, min_side=min_side), image_info((90, 120), (96, 128))
    logits, deltas = rpn_outputs(op, 96, 128, 2)
    levels = zip(map(torch.from_numpy, logits), map(torch.from_numpy, deltas), strict=True)
    cut = [without_low_scores(*level, 0.95).numpy() for level in levels]
    assert 0 < max(check(where, op, info, (logits, cut))) < min(check(where, op, info, (logits, deltas)))


@on_every_device
@pytest.mark.parametrize(
    "change",
    [
        {"anchor_rounded": True},  # torchvision's anchors
        {"anchor_centre_offset": 0.5},  # centres of cells
        {"pre_nms_per_level": 7},  # fewer candidates
        {"nms_thresh": 0.2},  # long chains: a box that would drop another is itself dropped
        {"min_side": 12.0},  # drops most of P2
        {"max_proposals": 5},
        {"aspect_ratios": (1.0, 3.0, 0.25)},
        {"anchor_sizes": (10.0, 20.0, 30.0, 40.0, 50.0)},
        {"anchor_sizes": (4.0, 9.0, 12.0, 16.0, 24.0, 32.0, 40.0, 64.0, 80.0, 128.0)},  # two on each level
    ],
    ids=str,
)
def test_every_attribute_counts(where: str, change: dict[str, float]) -> None:
    op = dataclasses.replace(BASE, **change)
    check(where, op, image_info((90, 120)), rpn_outputs(op, 96, 128, 1))


@on_every_device
@pytest.mark.parametrize("canvas", [(32, 32), (160, 32)])
def test_fewer_anchors_than_candidates_and_fewer_proposals_than_r(where: str, canvas: tuple[int, int]) -> None:
    """The coarsest level has 3 anchors; all levels together give fewer than R proposals."""
    op = dataclasses.replace(BASE, pre_nms_per_level=150, max_proposals=900)
    (count,) = check(where, op, image_info(canvas), rpn_outputs(op, *canvas, 1))
    assert 0 < count < 900


@on_every_device
@pytest.mark.parametrize("levels", [1, 8])
def test_one_level_and_as_many_as_there_can_be(where: str, levels: int) -> None:
    """C4 has one level of all sizes: 15 anchors a cell."""
    each = 5 if levels == 1 else 1
    op = dataclasses.replace(
        BASE, strides=tuple([8] * levels), anchor_sizes=tuple(6.0 * (i + 1) for i in range(levels * each))
    )
    check(where, op, image_info((64, 60)), rpn_outputs(op, 64, 64, 1))


@on_every_device
def test_a_level_without_cells(where: str) -> None:
    op = dataclasses.replace(BASE, strides=(4, 8), anchor_sizes=(8.0, 16.0))
    logits, deltas = rpn_outputs(op, 32, 32, 2)
    logits[0], deltas[0] = logits[0][:, :, :0], deltas[0][:, :, :0]
    assert min(check(where, op, image_info((32, 32), (32, 32)), (logits, deltas))) > 0
    logits[1], deltas[1] = logits[1][:, :, :0], deltas[1][:, :, :0]
    assert check(where, op, image_info((32, 32), (32, 32)), (logits, deltas)) == [0, 0]


@on_every_device
def test_no_image_at_all(where: str) -> None:
    proposals, num = run_proposal_nms(where, BASE, image_info(), *rpn_outputs(BASE, 32, 32, 0))
    assert (proposals.shape, num.shape) == ((0, BASE.max_proposals, 4), (0,))


@on_every_device
@pytest.mark.parametrize("rounding", [1.0, 100.0], ids=["many-ties", "all-equal"])
def test_ties_keep_the_lower_anchor_and_the_lower_level(where: str, rounding: float) -> None:
    logits, deltas = rpn_outputs(BASE, 64, 64, 2)
    rounded = [np.round(level / rounding) for level in logits]  # with both signs of zero
    assert any(np.signbit(level[level == 0]).any() for level in rounded)
    check(where, BASE, image_info((64, 64), (50, 64)), (rounded, deltas))


@on_every_device
def test_images_without_proposals_beside_full_ones(where: str) -> None:
    """Each slot of a batch is empty in one of the runs and full in the other."""
    for empty in (0, 1):
        logits, deltas = rpn_outputs(BASE, 64, 64, 7, spread=0.1)
        for level in deltas:
            level[empty::2, 2::4] = -200.0  # width 0: dropped
        counts = check(where, BASE, image_info(*[(64, 64)] * 7), (logits, deltas))
        assert counts == [0 if image % 2 == empty else BASE.max_proposals for image in range(7)]


@on_every_device
def test_identical_boxes_leave_one(where: str) -> None:
    """Huge boxes are all cut to the image: one a level survives."""
    logits, deltas = rpn_outputs(BASE, 64, 64, 1)
    for level in deltas:
        level[:, 2::4], level[:, 3::4] = 50.0, 50.0  # beyond the clamp of 1000 / 16
    assert check(where, BASE, image_info((60, 60)), (logits, deltas)) == [5]


@on_every_device
def test_disjoint_boxes_all_stay(where: str) -> None:
    """Boxes of 2 px on a grid of 4 px: touching none; 256 of them, sorted by nothing but their index."""
    op = dataclasses.replace(ONE_LEVEL, anchor_sizes=(2.0,), aspect_ratios=(1.0,), max_proposals=300)
    op = dataclasses.replace(op, pre_nms_per_level=300, anchor_centre_offset=0.5)
    outputs = [np.zeros((1, 1, 16, 16), np.float32)], [np.zeros((1, 4, 16, 16), np.float32)]
    assert check(where, op, image_info((64, 64)), outputs) == [256]
    proposals, _ = run_proposal_nms(where, op, image_info((64, 64)), *outputs)
    np.testing.assert_array_equal(proposals[0, 17], [5, 5, 7, 7])  # cell (1, 1)


@on_every_device
@pytest.mark.parametrize(("thresh", "kept"), [(0.5, 2), (np.nextafter(np.float32(0.5), np.float32(0)), 1)])
def test_an_iou_of_exactly_the_threshold_drops_nothing(where: str, thresh: float, kept: int) -> None:
    """[0,0,8,8] and [0,-4,8,4], which the image cuts to [0,0,8,4]: IoU 1/2."""
    op = ProposalNMS((4,), (8.0,), (1.0,), False, 0.0, 10, 10, float(thresh), 0.0)
    logits = np.array([[[[2.0, 1.0]]]], np.float32)
    deltas = np.zeros((1, 4, 1, 2), np.float32)
    deltas[0, :2, 0, 0] = 0.5, 0.5  # centre (0, 0), moved by half a side each way
    deltas[0, :2, 0, 1] = 0.0, 0.0  # centre (4, 0)
    proposals, num = run_proposal_nms(where, op, image_info((8, 8)), [logits], [deltas])
    assert num.tolist() == [kept]
    np.testing.assert_array_equal(proposals[0, :kept], [[0, 0, 8, 8], [0, 0, 8, 4]][:kept])
    check(where, op, image_info((8, 8)), ([logits], [deltas]))


@on_every_device
def test_boxes_outside_the_image_are_dropped(where: str) -> None:
    """The image is the left upper corner of its canvas; anchors beyond it have no area once clipped."""
    (count,) = check(where, BASE, image_info((16, 16)), rpn_outputs(BASE, 96, 128, 1, spread=0.1))
    assert 0 < count < BASE.max_proposals


@on_every_device
def test_a_nan_logit_is_never_chosen_and_infinite_ones_are_ordered(where: str) -> None:
    """Every second logit is NaN, of either sign; fewer numbers are left than candidates are wanted."""
    logits, deltas = rpn_outputs(BASE, 64, 64, 2, spread=0.1)
    for level in logits:
        level.reshape(-1)[::2] = np.nan
        level.reshape(-1)[::4] = -np.float32(np.nan)
        level.reshape(-1)[1::10] = np.inf
        level.reshape(-1)[3::10] = -np.inf
    op = dataclasses.replace(BASE, pre_nms_per_level=600, max_proposals=900)
    check(where, op, image_info((64, 64), (64, 50)), (logits, deltas))
    nothing = [np.full_like(level, np.nan) for level in logits]
    assert run_proposal_nms(where, op, image_info((64, 64), (64, 50)), nothing, deltas)[1].tolist() == [0, 0]


@on_every_device
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_a_box_that_is_no_box_is_dropped(where: str, value: float) -> None:
    """Centres and sizes that are no numbers: dropped, or cut to the image; never NaN in the answer."""
    logits, deltas = rpn_outputs(BASE, 64, 64, 1)
    for level in deltas:
        level.reshape(-1)[::7] = value
    proposals, num = run_proposal_nms(where, BASE, image_info((64, 64)), logits, deltas)
    assert num[0] > 0
    assert (np.isfinite(proposals) & (proposals >= 0) & (proposals <= 64)).all()
    assert (proposals[0, : num[0], 2:] - proposals[0, : num[0], :2] >= BASE.min_side).all()


@on_every_device
def test_an_image_size_that_is_no_number_gives_nothing(where: str) -> None:
    info = image_info((np.nan, 64), (64, np.nan), (64, 64))
    num = run_proposal_nms(where, BASE, info, *rpn_outputs(BASE, 64, 64, 3))[1]
    assert num.tolist() == [0, 0, BASE.max_proposals]


@pytest.mark.parametrize(
    ("kind", "top", "limit", "spread"),
    [
        ("normal", 1000, 1000, 0.2),  # the baseline's numbers
        ("ties", 1000, 1000, 0.2),  # chosen from more equal ones than fit shared memory
        ("ties", 4000, 300, 0.4),
        ("normal", 5000, 12000, 0.4),  # sorted in global memory; more kept ones than are joined in shared memory
        ("normal", 8500, 100, 0.1),  # more than the matrix of pairs is made for
    ],
)
def test_every_path_gives_the_same_bytes(kind: str, top: int, limit: int, spread: float) -> None:
    """12 288 anchors on the finest level: more than a block sorts in shared memory."""
    op = dataclasses.replace(BASE, strides=(2, 4), anchor_sizes=(8.0, 16.0), pre_nms_per_level=top)
    op = dataclasses.replace(op, min_side=6.0, max_proposals=limit, nms_thresh=0.95 if limit > top else 0.7)
    logits, deltas = rpn_outputs(op, 128, 128, 1, spread=spread)
    if kind == "ties":
        logits = [np.zeros_like(logits[0]), np.round(logits[1])]  # one level all equal
    info = image_info((120, 128))
    generic = run_proposal_nms("host-generic", op, info, logits, deltas)
    assert same_bytes(generic, run_proposal_nms("host-avx512", op, info, logits, deltas))
    for seed in device.SIMT_SEEDS if top <= 1000 else (1,):
        assert same_bytes(generic, run_proposal_nms("simt", op, info, logits, deltas, seed))
    expected, count = exported.reference(exported_op(op), info, logits, deltas)
    assert generic[1].tolist() == count.tolist()
    np.testing.assert_allclose(generic[0], expected, atol=tolerances.BOXES_PX, rtol=0)


@pytest.mark.parametrize("where", ["host-generic", "host-avx512"])
@pytest.mark.parametrize(("top", "high"), [(1000, True), (100, False)], ids=["too-high", "too-low"])
def test_a_sample_that_misleads_changes_nothing(where: str, top: int, high: bool) -> None:
    """The host guesses a bound from 2048 logits: every sixth of 12 288. They alone are high, or they alone are low."""
    op = dataclasses.replace(ONE_LEVEL, strides=(2,), pre_nms_per_level=top, max_proposals=1000, nms_thresh=0.9)
    logits, deltas = rpn_outputs(op, 128, 128, 1)
    place = np.arange(logits[0].size).reshape(logits[0].shape)
    logits[0] += 100 * ((place % 6 == 0) == high).astype(np.float32)
    info = image_info((128, 128))
    proposals, num = run_proposal_nms(where, op, info, logits, deltas)
    expected, count = exported.reference(exported_op(op), info, logits, deltas)
    assert num.tolist() == count.tolist()
    np.testing.assert_allclose(proposals, expected, atol=tolerances.BOXES_PX, rtol=0)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_bytes() -> None:
    """268 569 anchors of an 800 x 1344 canvas, two images, and the same with all logits rounded to whole numbers."""
    op = dataclasses.replace(BASE, anchor_sizes=(32.0, 64.0, 128.0, 256.0, 512.0), pre_nms_per_level=1000)
    op = dataclasses.replace(op, max_proposals=1000, nms_thresh=0.7)
    logits, deltas = rpn_outputs(op, 800, 1344, 2)
    info = image_info((800, 1333), (704, 1344))
    for case in (logits, [np.round(level) for level in logits]):
        on_host = run_proposal_nms("host-generic", op, info, case, deltas)
        assert same_bytes(on_host, run_proposal_nms("cuda", op, info, case, deltas))


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_onnx_runtime_on_both_bodies(seed: int) -> None:
    logits, deltas = rpn_outputs(BASE, 96, 128, 2, seed=seed)
    info, op = image_info((96, 128), (80, 100)), exported_op(BASE)
    proposals, num = run_proposal_nms("host-avx512", BASE, info, logits, deltas)
    for body in (exported.body_ort(op), exported.body_dense(op)):
        expected, count = run_op(body, op, [info, *logits, *deltas])
        assert num.tolist() == count.tolist()
        np.testing.assert_allclose(proposals, expected, atol=tolerances.BOXES_PX, rtol=0)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_torchvision(seed: int) -> None:
    """RegionProposalNetwork.filter_proposals on the same logits and deltas, with its anchors and its decode."""
    op = dataclasses.replace(BASE, anchor_rounded=True, pre_nms_per_level=300, max_proposals=200, nms_thresh=0.7)
    logits, deltas = rpn_outputs(op, 192, 256, 2, seed=seed)
    info = image_info((192, 256), (160, 200))
    proposals, num = run_proposal_nms("host-avx512", op, info, logits, deltas)
    for image, boxes in enumerate(by_torchvision(op, info, logits, deltas)):
        assert num[image] == len(boxes)
        np.testing.assert_allclose(proposals[image, : num[image]], boxes, atol=tolerances.BOXES_PX, rtol=0)


def by_torchvision(op: ProposalNMS, info: Array, logits: list[Array], deltas: list[Array]) -> list[Array]:
    sizes = tuple((size,) for size in op.anchor_sizes)
    generator = AnchorGenerator(sizes, (op.aspect_ratios,) * len(sizes))
    top, limit = ({"training": 0, "testing": number} for number in (op.pre_nms_per_level, op.max_proposals))
    network = RegionProposalNetwork(generator, RPNHead(4, 3), 0.5, 0.5, 1, 0.5, top, limit, op.nms_thresh)
    network.eval()
    maps, shifts = [torch.from_numpy(x) for x in logits], [torch.from_numpy(x) for x in deltas]
    canvas = torch.zeros(len(info), 3, maps[0].shape[2] * op.strides[0], maps[0].shape[3] * op.strides[0])
    shapes = [(int(height), int(width)) for height, width in info[:, :2]]
    anchors = generator(ImageList(canvas, shapes), maps)
    flat = torch.cat([x.permute(0, 2, 3, 1).flatten(1) for x in maps], dim=1)
    moved = [x.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3) for x in shifts]
    decoded = network.box_coder.decode(torch.cat(moved, dim=1).flatten(0, 1), anchors).view(len(info), -1, 4)
    boxes, _ = network.filter_proposals(decoded, flat.reshape(-1, 1), shapes, [x[0].numel() for x in maps])
    return [found.numpy() for found in boxes]


@pytest.mark.parametrize("where", ["host-generic", "host-avx512", "simt"])
def test_what_stays_and_what_is_dropped(where: str) -> None:
    """Without a limit: no two boxes of a level overlap above the threshold, and each dropped one has a better one."""
    op = dataclasses.replace(ONE_LEVEL, anchor_sizes=(24.0,), pre_nms_per_level=200, max_proposals=200, nms_thresh=0.4)
    logits, deltas = rpn_outputs(op, 64, 64, 1)
    info = image_info((64, 64))
    proposals, num = run_proposal_nms(where, op, info, logits, deltas)
    kept = [tuple(float(value) for value in box) for box in proposals[0, : num[0]]]
    candidates = reference.level_candidates(op, 0, logits[0][0], deltas[0][0], (64.0, 64.0))
    boxes = [box for _, box in candidates]
    places = [int(np.argmin([np.abs(np.subtract(box, each)).max() for each in boxes])) for box in kept]
    assert places == sorted(places)
    for i, a in enumerate(kept):
        assert all(reference.iou(a, b) <= op.nms_thresh + 1e-6 for b in kept[:i])
    for place in set(range(len(boxes))) - set(places):
        assert max(reference.iou(boxes[place], boxes[better]) for better in places if better < place) > op.nms_thresh


@pytest.mark.parametrize("where", ["host-generic", "host-avx512", "simt"])
def test_images_of_a_batch_do_not_touch_each_other(where: str) -> None:
    logits, deltas = rpn_outputs(BASE, 64, 64, 3)
    info = image_info((64, 64), (40, 64), (64, 33))
    together = run_proposal_nms(where, BASE, info, logits, deltas)
    for image in range(3):
        one = slice(image, image + 1)
        alone = run_proposal_nms(where, BASE, info[one], [x[one] for x in logits], [x[one] for x in deltas])
        assert same_bytes(alone, (together[0][one], together[1][one]))


@pytest.mark.parametrize("threads", [0, 1, 3, 100])
def test_the_number_of_threads_changes_nothing(threads: int) -> None:
    logits, deltas = rpn_outputs(BASE, 96, 128, 3)
    info = image_info((96, 128), (96, 100), (50, 50))
    alone = proposal_nms(BASE, info, logits, deltas, threads=1)
    assert same_bytes(alone, proposal_nms(BASE, info, logits, deltas, threads=threads))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"nms_thresh": 1.5}, "nms_thresh: got 1.5.*expected 0..1"),
        ({"nms_thresh": float("nan")}, "nms_thresh: got nan"),
        ({"pre_nms_per_level": 0}, "pre_nms_per_level: got 0, expected at least 1"),
        ({"max_proposals": 0}, "max_proposals: got 0, expected at least 1"),
        ({"min_side": -1.0}, "min_side: got -1"),
        ({"anchor_centre_offset": float("inf")}, "anchor_centre_offset: got inf"),
        ({"strides": (4, 8, 16, 32, 0)}, "strides: got 0, expected at least 1"),
        ({"anchor_sizes": (8.0, 16.0, 32.0, 64.0, -1.0)}, "anchor_sizes: got -1"),
        ({"anchor_sizes": (8.0,) * 6}, "anchor_sizes: got 6 values, expected the same number on each of 5 levels"),
        ({"aspect_ratios": (0.5, 0.0, 2.0)}, "aspect_ratios: got 0.0"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_attribute_is_named(change: dict[str, float], text: str) -> None:
    with pytest.raises(HostLibraryError, match=text):
        proposal_nms(dataclasses.replace(BASE, **change), image_info((32, 32)), *rpn_outputs(BASE, 32, 32, 1))


def test_too_many_levels_or_anchors_are_refused() -> None:
    levels = dataclasses.replace(BASE, strides=(4,) * 9, anchor_sizes=(8.0,) * 9)
    with pytest.raises(HostLibraryError, match=r"strides: got 9 levels, expected 1\.\.8"):
        proposal_nms(levels, image_info((32, 32)), *rpn_outputs(levels, 32, 32, 1))
    anchors = dataclasses.replace(ONE_LEVEL, anchor_sizes=(8.0,) * 43)
    with pytest.raises(HostLibraryError, match="43 anchor_sizes, expected at least one and a product of at most 128"):
        proposal_nms(anchors, image_info((32, 32)), *rpn_outputs(anchors, 32, 32, 1))


def test_a_wrong_shape_is_named() -> None:
    logits, deltas = rpn_outputs(BASE, 32, 32, 1)
    with pytest.raises(HostLibraryError, match=r"image_info: got shape \[1, 5\], expected \[any,6\]"):
        proposal_nms(BASE, image_info((32, 32))[:, :5], logits, deltas)
    with pytest.raises(HostLibraryError, match=r"deltas_1: got shape \[1, 12, 4, 3\], expected \[1,12,4,4\]"):
        proposal_nms(BASE, image_info((32, 32)), logits, [deltas[0], deltas[1][..., :3], *deltas[2:]])
    with pytest.raises(HostLibraryError, match="got 4 logits and 5 deltas"):
        proposal_nms(BASE, image_info((32, 32)), logits[:4], deltas)


def exported_op(op: ProposalNMS) -> exported.ProposalNMS:
    return exported.ProposalNMS(**dataclasses.asdict(op))
