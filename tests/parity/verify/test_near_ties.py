"""Near-ties: what the reference cannot decide within an error is named and fails nothing; what it can decide counts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from maskline_export.manifest import load_artifact
from maskline_export.onnx_stages.to_onnx import export_checkpoint
from maskline_export.precision.to_typed import type_artifact
from maskline_export.verify.comparison import compare
from maskline_export.verify.images import ladder_images
from maskline_export.verify.lines.found import Picture
from maskline_export.verify.lines.onnx_line import OnnxLine
from maskline_export.verify.near_ties.decide import Candidates, Decided, Rule, decide
from maskline_train.checkpoint import save_model
from maskline_train.model.heads.box_head import suppress
from maskline_train.spec import BoxHeadSpec
from support.export.kept_traces import kept_traces
from support.models.tiny import tiny_model

RULE = Rule(nms_thresh=0.5, keep=3, cut=0.05)
APART = [[100.0 * i, 0, 100.0 * i + 10, 10] for i in range(6)]


def fates(
    boxes: list[list[float]], scores: list[float], error: float, px: float = 0.0, sure: list[bool] | None = None
) -> Decided:
    """Of boxes of one class."""
    count = len(boxes)
    candidates = Candidates(
        np.array(boxes, np.float64),
        np.array(scores),
        np.zeros(count, np.int64),
        np.array(sure or [True] * count),
        np.full(count, px),
    )
    return decide(candidates, RULE, error)


def test_two_scores_closer_than_the_error_change_places() -> None:
    """Of two boxes that overlap the better one stays: which of them, an error of 1e-4 cannot say of 5e-5."""
    boxes = [[0, 0, 10, 10], [0, 0, 10, 9]]
    near = fates(boxes, [0.80005, 0.8], 1e-4)
    assert near.kept.tolist() == [False, False]
    assert near.perhaps.tolist() == [True, True]
    assert near.reason(1) == "scores 0.8 and 0.80005 of boxes that overlap"
    far = fates(boxes, [0.801, 0.8], 1e-4)
    assert (far.kept.tolist(), far.perhaps.tolist()) == ([True, False], [True, False])


def test_an_overlap_closer_to_the_threshold_than_the_boxes_errors() -> None:
    """IoU 10 / 19.99 of two boxes: 0.50025, which boxes that are off by a hundredth of a pixel do not settle."""
    boxes = [[0, 0, 15, 10], [5.003, 0, 20, 10]]
    near = fates(boxes, [0.9, 0.8], 1e-6, px=0.01)
    assert near.kept.tolist() == [True, False]
    assert near.perhaps.tolist() == [True, True]
    assert "IoU 0.4998" in near.reason(1)
    assert "at the threshold 0.5" in near.reason(1)
    far = fates(boxes, [0.9, 0.8], 1e-6, px=1e-5)
    assert far.kept.tolist() == [True, True]


def test_what_hangs_on_an_undecided_box_is_undecided() -> None:
    """The first two may change places; the third overlaps the second alone."""
    boxes = [[0, 0, 10, 10], [2, 0, 12, 10], [4.5, 0, 14.5, 10]]
    found = fates(boxes, [0.80005, 0.8, 0.5], 1e-4)
    assert found.kept.tolist() == [False, False, False]
    assert found.perhaps.tolist() == [True, True, True]
    assert "undecided itself" in found.reason(2)


def test_a_score_at_the_cut_and_one_at_the_last_place() -> None:
    at_cut = fates(APART[:1], [0.05001], 1e-4, sure=[False])
    assert (at_cut.kept.tolist(), at_cut.perhaps.tolist()) == ([False], [True])
    assert at_cut.reason(0) == "score 0.05001 at the cut 0.05"
    last = fates(APART[:5], [0.9, 0.8, 0.70005, 0.7, 0.6], 1e-4)
    assert last.kept.tolist() == [True, True, False, False, False]
    assert last.perhaps.tolist() == [True, True, True, True, False]
    assert last.reason(3) == "score 0.7 at the last of 3 places"


@pytest.mark.parametrize("seed", range(20))
def test_whatever_an_error_does_lies_between_sure_and_perhaps(seed: int) -> None:
    """Scores and boxes moved at random within the error: NMS keeps all that is sure and nothing beyond perhaps."""
    random = np.random.default_rng(seed)
    count, error, px = 60, 0.02, 0.3
    corners = random.uniform(0, 40, (count, 2))
    boxes = np.concatenate([corners, corners + random.uniform(8, 20, (count, 2))], axis=1)
    scores, groups = random.uniform(0.1, 1, count), random.integers(0, 2, count)
    spec = BoxHeadSpec(nms_thresh=0.5, max_detections=12)
    pool = Candidates(boxes, scores, groups, np.ones(count, bool), np.full(count, px))
    decided = decide(pool, Rule(0.5, 12), error)
    assert decided.kept.any()
    assert not decided.perhaps.all()
    moved_otherwise = 0
    for _ in range(30):
        moved = boxes + random.uniform(-px, px, boxes.shape)
        changed = scores + random.uniform(-error, error, count)
        _, found, _ = suppress(*(torch.from_numpy(array) for array in (moved, changed, groups)), spec)
        kept = np.isin(changed, found.numpy())
        assert kept[decided.kept].all()
        assert not kept[~decided.perhaps].any()
        moved_otherwise += int((kept != decided.kept).any())
    assert moved_otherwise > 0, "the errors change something"


@pytest.fixture(scope="module")
def amplified(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Random weights amplified until scores crowd at every threshold, and what fp16 makes of them."""
    root = tmp_path_factory.mktemp("amplified")
    model = tiny_model(seed=4)
    with torch.no_grad():
        model.box_head.class_logits.weight.mul_(3)
        model.rpn_head.logits.weight.mul_(3)
    save_model(root / "checkpoint", model)
    with kept_traces():
        export_checkpoint(root / "checkpoint", root / "artifact")
    type_artifact(root / "artifact", root / "fp16", "fp16", None)
    return root / "checkpoint", root / "fp16"


@pytest.mark.long
def test_amplified_random_weights_are_no_deviation(amplified: tuple[Path, Path]) -> None:
    """Every stage is in order; some detections are there on one side alone, and each says why."""
    from maskline_train.checkpoint import load_model

    model = load_model(amplified[0]).eval()
    line = OnnxLine(amplified[1], load_artifact(amplified[1]), threads=1)
    pictures = [Picture.of(name, pixels, model.spec) for name, pixels in ladder_images(96)]
    (report,) = compare(model, [line], pictures)
    rows = {row.stage: row for row in report.rows}
    assert report.first_deviation is None
    assert rows["detections"].near_ties > 0
    assert all(":" in reason for reason in rows["detections"].reasons)
    assert dataclasses.asdict(rows["detections"])["near_ties"] == report.near_ties
