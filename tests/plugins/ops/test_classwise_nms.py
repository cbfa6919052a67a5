"""ClasswiseNMS on every device: against float64 loops, by properties, and path against path."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import device
import numpy as np
import pytest
import reference
import tolerances
from maskline_host import HostLibraryError
from maskline_host.classwise_nms import ClasswiseNMS, classwise_nms
from nms_runner import DetectionInputs, head_outputs, image_info, run_classwise_nms, same_bytes, softmax

BASE = ClasswiseNMS(
    num_classes=3,
    score_thresh=0.1,
    nms_thresh=0.5,
    max_detections=25,
    delta_weights=(10.0, 10.0, 5.0, 5.0),
    min_side=1e-2,
)
on_every_device = pytest.mark.parametrize("where", device.DEVICES)


def check(where: str, op: ClasswiseNMS, inputs: DetectionInputs) -> list[int]:
    """Run the op and compare it with the oracle; the number of detections of each image."""
    found = run_classwise_nms(where, op, inputs)
    expected = reference.classwise_nms(op, *inputs)
    assert found.num_detections.tolist() == [[len(image)] for image in expected]
    for image, detections in enumerate(expected):
        count = len(detections)
        assert found.labels[image].tolist() == [label for _, label, _ in detections] + [-1] * (
            op.max_detections - count
        )
        scores = [score for score, _, _ in detections]
        np.testing.assert_allclose(found.scores[image, :count], scores, atol=tolerances.SCORES, rtol=0)
        boxes = np.array([box for _, _, box in detections]).reshape(-1, 4)
        np.testing.assert_allclose(found.boxes[image, :count], boxes, atol=tolerances.BOXES_PX, rtol=0)
        assert not found.boxes[image, count:].any()
        assert not found.scores[image, count:].any()
    return [int(count) for count in found.num_detections[:, 0]]


@on_every_device
@pytest.mark.parametrize("counts", [(10,), (10, 3), (10, 0, 1, 5, 10, 2, 7), (0, 10, 10, 10, 0, 10, 0)], ids=len)
def test_batches(where: str, counts: tuple[int, ...]) -> None:
    found = check(where, BASE, head_outputs(counts, 10, 3))
    assert [number == 0 for number in found] == [count == 0 for count in counts]


@on_every_device
@pytest.mark.parametrize(
    "change",
    [
        {"score_thresh": 0.4},  # few candidates
        {"score_thresh": 0.0},  # all of them
        {"nms_thresh": 0.05},  # long chains
        {"max_detections": 2},
        {"delta_weights": (1.0, 1.0, 1.0, 1.0)},  # boxes far from their proposals, many cut by the image
        {"delta_weights": (10.0, 5.0, 2.0, 4.0)},  # each weight reaches its own delta
        {"min_side": 40.0},
    ],
    ids=str,
)
def test_every_attribute_counts(where: str, change: dict[str, float]) -> None:
    inputs = head_outputs((10,), 10, 3)
    op = dataclasses.replace(BASE, **change)
    check(where, op, inputs)
    assert reference.classwise_nms(op, *inputs) != reference.classwise_nms(BASE, *inputs)


@on_every_device
@pytest.mark.parametrize(("classes", "rows"), [(1, 33), (20, 31), (80, 32), (257, 5)])
def test_numbers_of_classes_and_rows(where: str, classes: int, rows: int) -> None:
    """Around multiples of 32, and one class."""
    op = dataclasses.replace(BASE, num_classes=classes, score_thresh=1.5 / (classes + 1))
    assert min(check(where, op, head_outputs((rows, rows - 2), rows, classes))) > 0


@on_every_device
def test_more_rows_than_candidates(where: str) -> None:
    """D is larger than R * K."""
    op = dataclasses.replace(BASE, max_detections=50, score_thresh=0.0)
    assert max(check(where, op, head_outputs((4, 2), 4, 3))) <= 12


@on_every_device
def test_no_image_and_no_row(where: str) -> None:
    assert run_classwise_nms(where, BASE, head_outputs((), 10, 3)).boxes.shape == (0, 25, 4)
    assert check(where, BASE, head_outputs((0, 0), 0, 3)) == [0, 0]


@on_every_device
def test_a_count_outside_the_rows_is_cut(where: str) -> None:
    inputs = list(head_outputs((10, 10, 0), 10, 3))
    right = run_classwise_nms(where, BASE, tuple(inputs))
    inputs[3] = np.array([11, 2**31 - 1, -5], np.int32)
    assert same_bytes(run_classwise_nms(where, BASE, tuple(inputs)), right)


@on_every_device
def test_padding_rows_do_not_count(where: str) -> None:
    """Whatever padding rows hold, NaN included."""
    logits, deltas, proposals, counts, info = head_outputs((4, 7), 10, 3)
    right = run_classwise_nms(where, BASE, (logits, deltas, proposals, counts, info))
    for image, count in enumerate(counts):
        logits.reshape(2, 10, -1)[image, count:] = np.nan
        deltas.reshape(2, 10, -1)[image, count:] = np.inf
        proposals[image, count:] = -np.inf
    assert same_bytes(run_classwise_nms(where, BASE, (logits, deltas, proposals, counts, info)), right)


@on_every_device
def test_no_score_above_the_threshold(where: str) -> None:
    logits, *rest = head_outputs((10, 10), 10, 3)
    logits[:, -1] = 30.0
    assert check(where, BASE, (logits, *rest)) == [0, 0]
    logits[13] = np.array([-9, 9, -9, -9], np.float32)
    assert check(where, BASE, (logits, *rest)) == [0, 1]


@on_every_device
def test_a_score_of_exactly_the_threshold_is_too_low(where: str) -> None:
    """Four equal logits: every score is 1/4 to the bit."""
    logits, deltas, *rest = head_outputs((10,), 10, 3)
    logits[:] = 1.0
    assert check(where, dataclasses.replace(BASE, score_thresh=0.25), (logits, deltas, *rest)) == [0]
    below = float(np.nextafter(np.float32(0.25), np.float32(0)))
    assert check(where, dataclasses.replace(BASE, score_thresh=below), (logits, deltas, *rest))[0] > 0


def grid(side: int, step: float, box: float) -> DetectionInputs:
    """side x side boxes of `box` px, `step` px apart, certain of class 0, on one image."""
    y, x = np.divmod(np.arange(side * side), side)
    corners = np.stack([step * x, step * y, step * x + box, step * y + box], axis=-1)
    return (
        np.tile(np.array([9, -9, -9, -9], np.float32), (side * side, 1)),
        np.zeros((side * side, 12), np.float32),
        corners[None].astype(np.float32),
        np.array([side * side], np.int32),
        image_info((step * side, step * side)),
    )


@on_every_device
@pytest.mark.parametrize("detections", [99, 100, 101])
def test_around_d_detections_of_touching_boxes(where: str, detections: int) -> None:
    """100 boxes that share edges: IoU 0, all stay; ties in score go by row."""
    op = dataclasses.replace(BASE, max_detections=detections)
    assert check(where, op, grid(10, 8, 8)) == [min(detections, 100)]
    np.testing.assert_array_equal(run_classwise_nms(where, op, grid(10, 8, 8)).boxes[0, 11], [8, 8, 16, 16])


@on_every_device
def test_nested_boxes(where: str) -> None:
    """Squares of side 10..100 around one centre, the largest first: each is dropped while its share is above t."""
    sides = np.arange(100, 9, -10, dtype=np.float32)
    proposals = np.stack([60 - sides / 2, 60 - sides / 2, 60 + sides / 2, 60 + sides / 2], axis=-1)[None]
    logits = np.full((10, 2), 0, np.float32)
    logits[:, 0] = np.linspace(5, 4, 10)
    op = dataclasses.replace(BASE, num_classes=1)
    inputs = (logits, np.zeros((10, 4), np.float32), proposals, np.array([10], np.int32), image_info((120, 120)))
    assert check(where, op, inputs) == [5]
    kept = run_classwise_nms(where, op, inputs).boxes[0, :5]
    np.testing.assert_array_equal(kept[:, 2] - kept[:, 0], [100, 70, 40, 20, 10])  # 49 %, 33 %, 25 %, 25 % of the last


@on_every_device
@pytest.mark.parametrize(("thresh", "kept"), [(0.5, 2), (np.nextafter(np.float32(0.5), np.float32(0)), 1)])
def test_an_iou_of_exactly_the_threshold_drops_nothing(where: str, thresh: float, kept: int) -> None:
    proposals = np.array([[[0, 0, 8, 8], [0, 0, 8, 4]]], np.float32)
    logits = np.array([[9, -9, -9, 0], [8, -9, -9, 0]], np.float32)
    inputs = (logits, np.zeros((2, 12), np.float32), proposals, np.array([2], np.int32), image_info((16, 16)))
    assert check(where, dataclasses.replace(BASE, nms_thresh=float(thresh)), inputs) == [kept]


@on_every_device
def test_boxes_without_area_do_not_drop_each_other(where: str) -> None:
    """With min_side 0 the op keeps them: two of them have IoU 0 by definition."""
    logits, deltas, proposals, *rest = head_outputs((10,), 10, 3, spread=0.0)
    proposals[..., 2:] = proposals[..., :2]
    op = dataclasses.replace(BASE, min_side=0.0, max_detections=40)
    assert check(where, op, (logits, deltas, proposals, *rest))[0] == (
        sum(score > op.score_thresh for score in softmax(logits)[:, :3].ravel())
    )


@on_every_device
def test_boxes_out_of_the_frame_are_dropped(where: str) -> None:
    logits, deltas, proposals, *rest = head_outputs((10,), 10, 3, spread=0.0)
    proposals[0, ::2] += 500
    proposals[0, 1] -= 500
    assert check(where, BASE, (logits, deltas, proposals, *rest))[0] > 0
    proposals += 1000
    assert check(where, BASE, (logits, deltas, proposals, *rest)) == [0]


@on_every_device
def test_ties_go_to_the_lower_proposal_then_the_lower_class(where: str) -> None:
    logits, deltas, *rest = head_outputs((40, 40), 40, 3)
    logits[:] = np.tile(np.round(logits[:4]), (20, 1))  # rows that are alike to the bit, and classes of a row
    check(where, BASE, (logits, deltas, *rest))
    logits[:] = 0.0
    check(where, BASE, (logits, deltas, *rest))


@on_every_device
def test_classes_do_not_suppress_each_other(where: str) -> None:
    """One box, certain of nothing: every class keeps its own copy."""
    _, deltas, *rest = head_outputs((1,), 1, 3, spread=0.0)
    assert check(where, BASE, (np.array([[1, 1, 1, 0]], np.float32), deltas, *rest)) == [3]


@on_every_device
@pytest.mark.parametrize("value", [np.nan, np.inf], ids=str)
def test_a_row_with_a_logit_that_is_no_number_has_no_detection(where: str, value: float) -> None:
    logits, deltas, proposals, counts, info = head_outputs((10,), 10, 3)
    kept = [row for row in range(10) if row % 3]
    for place in range(4):
        logits[::3, :] = 0.0
        logits[::3, place] = value
        found = run_classwise_nms(where, BASE, (logits, deltas, proposals, counts, info))
        rest = (logits[kept], deltas[kept], proposals[:, kept], np.array([6], np.int32), info)
        assert same_bytes(found, run_classwise_nms(where, BASE, rest))


@on_every_device
def test_a_logit_of_minus_infinity_is_a_score_of_zero(where: str) -> None:
    logits, *rest = head_outputs((10,), 10, 3)
    logits[::2, 0] = -np.inf
    logits[1, :3] = -np.inf
    check(where, dataclasses.replace(BASE, score_thresh=0.0), (logits, *rest))
    logits[:] = -np.inf  # all of a row: no number
    assert run_classwise_nms(where, BASE, (logits, *rest)).num_detections.tolist() == [[0]]


@on_every_device
def test_a_softmax_over_a_wide_range(where: str) -> None:
    """Logits up to 1e4 apart overflow an exponential that is not shifted, and underflow one that is."""
    logits, *rest = head_outputs((10,), 10, 3, logit_spread=1e4)
    assert check(where, BASE, (logits, *rest))[0] > 0


@on_every_device
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
@pytest.mark.parametrize("what", ["deltas", "proposals", "image_info"])
def test_a_box_that_is_no_box_is_dropped(where: str, what: str, value: float) -> None:
    logits, deltas, proposals, counts, info = head_outputs((40, 40), 40, 3)
    {"deltas": deltas, "proposals": proposals, "image_info": info[:1]}[what].reshape(-1)[::7] = value
    found = run_classwise_nms(where, BASE, (logits, deltas, proposals, counts, info))
    assert found.num_detections[1, 0] > 0
    limit = np.array([128, 96, 128, np.inf if what == "image_info" else 96], np.float32)
    assert not np.isnan(found.boxes).any()
    assert ((found.boxes[1] >= 0) & (found.boxes[1] <= limit)).all()
    if what == "image_info" and not value > 0:
        assert found.num_detections[0, 0] == 0


@pytest.mark.parametrize(
    ("rows", "classes", "detections", "thresh"),
    [
        (1000, 80, 100, 0.05),  # the baseline's numbers
        (1000, 3, 100, 0.0),  # full classes
        (200, 40, 7000, 0.0),  # more kept ones than are sorted in shared memory, and as many wanted
        (700, 8, 50, 0.0),  # more kept ones than that, few wanted
        (2500, 2, 600, 0.0),  # more candidates a class than shared memory has room for, and more kept ones
    ],
)
@pytest.mark.parametrize("kind", ["normal", "ties"])
def test_every_path_gives_the_same_bytes(kind: str, rows: int, classes: int, detections: int, thresh: float) -> None:
    op = dataclasses.replace(BASE, num_classes=classes, max_detections=detections, score_thresh=thresh, nms_thresh=0.7)
    logits, *rest = head_outputs((rows, rows // 2), rows, classes)
    inputs = (np.round(logits) if kind == "ties" else logits, *rest)
    generic = run_classwise_nms("host-generic", op, inputs)
    assert same_bytes(generic, run_classwise_nms("host-avx512", op, inputs))
    for seed in device.SIMT_SEEDS if rows * classes < 5000 else (1,):
        assert same_bytes(generic, run_classwise_nms("simt", op, inputs, seed))


@pytest.mark.gpu
@pytest.mark.parametrize(("rows", "classes", "detections"), [(1000, 80, 100), (2500, 20, 600), (1000, 1203, 300)])
def test_a_gpu_gives_the_same_bytes(rows: int, classes: int, detections: int) -> None:
    op = dataclasses.replace(BASE, num_classes=classes, max_detections=detections, score_thresh=1e-3)
    inputs = head_outputs((rows, rows // 2), rows, classes)
    assert same_bytes(run_classwise_nms("host-generic", op, inputs), run_classwise_nms("cuda", op, inputs))


@pytest.mark.parametrize("where", ["host-generic", "host-avx512", "simt"])
def test_what_stays_and_what_is_dropped(where: str) -> None:
    """No two boxes of a class overlap above the threshold, each dropped one has a better one, twice is once."""
    rows = 200
    op = dataclasses.replace(BASE, num_classes=2, max_detections=2 * rows, score_thresh=0.05, nms_thresh=0.4)
    logits, deltas, proposals, counts, _ = head_outputs((rows,), rows, 2, spread=0.0)
    inputs = (logits, deltas, proposals, counts, image_info((200, 200)))  # cuts no box
    found = run_classwise_nms(where, op, inputs)
    count = int(found.num_detections[0, 0])
    boxes, scores, labels = found.boxes[0, :count], found.scores[0, :count], found.labels[0, :count]
    probabilities = softmax(inputs[0])
    for label in range(2):
        kept, better = boxes[labels == label].astype(np.float64).tolist(), scores[labels == label]
        assert all(reference.iou(a, b) <= op.nms_thresh + 1e-6 for i, a in enumerate(kept) for b in kept[:i])
        for row in np.flatnonzero(probabilities[:, label] > op.score_thresh):
            own = inputs[2][0, row].astype(np.float64).tolist()
            worst = max(
                reference.iou(own, box)
                for box, score in zip(kept, better, strict=True)
                if score >= probabilities[row, label] - tolerances.SCORES
            )
            assert worst > op.nms_thresh  # it is kept itself (IoU 1), or a better one drops it
    again = logits_of(scores, labels, 2)
    zeros = np.zeros((count, 8), np.float32)
    once_more = run_classwise_nms(where, op, (again, zeros, boxes[None].copy(), np.array([count], np.int32), inputs[4]))
    assert once_more.num_detections.tolist() == [[count]]
    assert once_more.labels[0, :count].tolist() == labels.tolist()


@pytest.mark.parametrize("where", ["host-generic", "host-avx512", "simt"])
def test_the_order_of_proposals_does_not_matter_where_scores_differ(where: str) -> None:
    logits, deltas, proposals, counts, info = head_outputs((60,), 60, 3)
    order = np.random.default_rng(0).permutation(60)
    found = run_classwise_nms(where, BASE, (logits, deltas, proposals, counts, info))
    shuffled = (logits[order], deltas[order], proposals[:, order], counts, info)
    assert same_bytes(found, run_classwise_nms(where, BASE, shuffled))


@pytest.mark.parametrize("threads", [0, 1, 3, 100])
def test_the_number_of_threads_changes_nothing(threads: int) -> None:
    inputs = head_outputs((10, 0, 7, 10, 10), 10, 3)
    assert same_bytes(classwise_nms(BASE, *inputs, threads=1), classwise_nms(BASE, *inputs, threads=threads))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"score_thresh": -0.1}, "score_thresh: got -0.1.*expected 0..1"),
        ({"score_thresh": float("nan")}, "score_thresh: got nan"),
        ({"nms_thresh": 1.01}, "nms_thresh: got 1.01"),
        ({"max_detections": 0}, "max_detections: got 0, expected at least 1"),
        ({"delta_weights": (10.0, 10.0, 0.0, 5.0)}, "delta_weights: got 0.0.*expected four finite numbers above 0"),
        ({"min_side": float("inf")}, "min_side: got inf"),
    ],
    ids=str,
)
def test_a_wrong_attribute_is_named(change: dict[str, float], text: str) -> None:
    with pytest.raises(HostLibraryError, match=text):
        classwise_nms(dataclasses.replace(BASE, **change), *head_outputs((10,), 10, 3))


def test_a_wrong_shape_is_named() -> None:
    logits, deltas, proposals, counts, info = head_outputs((10,), 10, 3)
    with pytest.raises(HostLibraryError, match=r"class_logits: got shape \[9, 4\], expected \[10,4\]"):
        classwise_nms(BASE, logits[:9], deltas, proposals, counts, info)
    with pytest.raises(HostLibraryError, match=r"num_proposals: got shape \[2\], expected \[1\]"):
        classwise_nms(BASE, logits, deltas, proposals, np.array([1, 1]), info)


def logits_of(scores: Sequence[float], labels: Sequence[int], classes: int) -> np.ndarray:
    """Rows whose softmax gives each score to its label and the rest to the background."""
    logits = np.full((len(scores), classes + 1), -50, np.float32)
    logits[:, -1] = np.log1p(-np.asarray(scores, np.float64))
    logits[np.arange(len(scores)), labels] = np.log(np.asarray(scores, np.float64))
    return logits
