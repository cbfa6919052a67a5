"""docs/training_step.md names what is in the code, and its numbers are the code's and the measured step's."""

import json
import re
from pathlib import Path

from maskline_bench.step_timeline.parts import (
    BACK_TO_FEATURES,
    BACK_TO_PIXELS,
    HEADS,
    LOSSES,
    PROPOSALS,
    ROI_ALIGN,
    RPN,
    SAMPLES,
    TARGETS,
    TRUNK,
)
from maskline_train.ground_truth import _FEWEST_OBJECTS
from maskline_train.model.sampling import SamplingSpec
from maskline_train.spec.heads import BoxHeadSpec, MaskHeadSpec
from maskline_train.training.report import STEPS_UNREAD

ROOT = Path(__file__).parents[3]
PAGE = " ".join((ROOT / "docs" / "training_step.md").read_text(encoding="utf-8").split())
CODE = "\n".join(path.read_text("utf-8") for path in (ROOT / "train").rglob("*.py"))
STEP = json.loads((ROOT / "docs" / "benchmarks" / "step_timeline_cpu.json").read_text("utf-8"))

SHARES = {
    "the trunk, forward and backward, takes": (TRUNK, BACK_TO_PIXELS),
    "RPN head, RoIAlign and heads": (RPN, ROI_ALIGN, HEADS, BACK_TO_FEATURES),
    "matching, sampling, proposals, targets and losses": (SAMPLES, PROPOSALS, TARGETS, LOSSES),
}


def test_every_name_on_the_page_is_in_the_code() -> None:
    quoted = re.findall(r"`([A-Za-z_][\w.]*)`", PAGE)
    names = {name.split(".")[-1] for name in quoted if not name.endswith((".py", ".so"))}
    assert {"train_step", "GroundTruth", "image_keys", "read"} <= names
    assert not {name for name in names if not re.search(rf"\b{name}\b", CODE)}


def test_sizes_are_those_of_the_code() -> None:
    spec = SamplingSpec()
    anchors = int(spec.rpn_samples * spec.rpn_positive_fraction)
    rois = int(spec.roi_samples * spec.roi_positive_fraction)
    for text in (
        f"draw {spec.rpn_samples} of them",
        f"[B, p] positives (p = {anchors}) and [B, n] negatives (n = {spec.rpn_samples})",
        f"[B, R, 4], R = {spec.max_proposals}",
        f"[B * S, 4], S = {spec.roi_samples}, positives first; the first p = {rois} rows",
        f"[B * S, C, {BoxHeadSpec().pooled_side}, {BoxHeadSpec().pooled_side}]",
        f"[B * p, C, {MaskHeadSpec().pooled_side}, {MaskHeadSpec().pooled_side}]",
        f"M = {MaskHeadSpec().mask_side}",
        f"a power of two, {_FEWEST_OBJECTS} at least",
        f"every {STEPS_UNREAD}th step (`STEPS_UNREAD`)",
        f"up to {STEPS_UNREAD} steps late",
        f"up to {STEPS_UNREAD} steps on a GPU",
    ):
        assert text in PAGE, text


def test_figures_are_those_of_the_measured_step() -> None:
    masks, setting = STEP["masks"], STEP["setting"]
    height, width = setting["canvas"]
    total = STEP["timeline"]["host_ms"]
    for text, parts in SHARES.items():
        share = sum(STEP["parts"]["host_ms"][part] for part in parts) / total
        assert f"{text} {share:.1%}" in PAGE, f"{text} {share:.1%}"
    for text in (
        f"batch {setting['batch']}, canvas {height}x{width}",
        f"{masks['objects']} objects: {masks['whole_canvases_bytes']:,} bytes as whole canvases, "
        f"{masks['crops_bytes']:,} as crops, {masks['travelling_bytes']:,} with the padding and where each begins",
        f"{masks['whole_canvases_bytes'] / masks['travelling_bytes']:.1f} times",
    ):
        assert text.replace(",", " ") in PAGE.replace(",", " "), text
