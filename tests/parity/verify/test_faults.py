"""A fault in each stage, on each line that a machine without a GPU has: found, and the stage named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from maskline_host import custom_ops_path
from parity.verify.lines import LINES, Network, make_network
from support.export.faults import Fault, attributes, class_names, preprocessing, weights


def negative(array: np.ndarray) -> np.ndarray:
    """Off by twice itself: beyond what any precision may round."""
    return -array


def nothing(folder: Path) -> None:
    """No fault."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A fault and the row that names it.

    Attributes:
        fault: as float artifacts have it.
        row: where each stage can be seen.
        whole: where whole stages alone can be seen, "or" between two that show it; "" where it cannot be seen there.
        int8: as an int8 artifact has it; None: as the others.
    """

    fault: Fault
    row: str
    whole: str = ""
    int8: Fault | None = None


NMS = "NMS of classes"
BOXES = "boxes of the box head"
CASES = {
    "class order": Case(class_names(lambda names: names[::-1]), "class names"),
    "resize filter": Case(preprocessing(resize_filter="torch"), "canvas"),
    "backbone": Case(
        weights("backbone", "fpn.output.0.weight", negative),
        "P2-P5",
        "P2-P5",
        weights("backbone", "conv2d_weight_levels", negative),
    ),
    "RPN logits": Case(weights("backbone", "rpn_head.logits.weight", negative), "RPN logits", "RPN logits"),
    "RPN deltas": Case(weights("backbone", "rpn_head.deltas.weight", negative), "RPN deltas", "RPN deltas"),
    "NMS of proposals": Case(attributes("proposal", "ProposalNMS", nms_thresh=0.5), "proposals", BOXES),
    "few proposals": Case(attributes("proposal", "ProposalNMS", pre_nms_per_level=20), "proposals", BOXES),
    "samples of the box RoIs": Case(attributes("proposal", "MultiscaleRoIAlign", sampling_ratio=1), "box RoI features"),
    "class logits": Case(
        weights("proposal", "box_head.class_logits.weight", negative),
        "class logits",
        f"{BOXES} or scores of the box head",
    ),
    "box deltas": Case(weights("proposal", "box_head.box_deltas.weight", negative), "box deltas", BOXES),
    "NMS of classes": Case(attributes("proposal", "ClasswiseNMS", nms_thresh=0.9), NMS, BOXES),
    "score cut": Case(attributes("proposal", "ClasswiseNMS", score_thresh=0.3), NMS, BOXES),
    "samples of the mask RoIs": Case(attributes("mask", "MultiscaleRoIAlign", sampling_ratio=1), "mask RoI features"),
    "mask head": Case(
        weights("mask", "convs.0.weight", negative),
        "mask probabilities",
        "mask probabilities",
        weights("mask", "conv2d_weight_levels", negative),
    ),
    "keypoint head": Case(
        weights("keypoint", "convs.0.weight", negative),
        "keypoints",
        "keypoints",
        weights("keypoint", "conv2d_weight_levels", negative),
    ),
}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return make_network(tmp_path_factory.mktemp("network"))


# The others differ from these in what they compute with, not in what is compared.
FEW = ("bodies", "engines")


@pytest.fixture(params=[name if name in FEW else pytest.param(name, marks=pytest.mark.long) for name in LINES])
def line(request: pytest.FixtureRequest) -> str:
    if request.param == "library" and custom_ops_path() is None:
        pytest.skip("libmaskline_ort.so is not built: `make plugins`")
    return request.param


def test_without_a_fault_every_line_agrees(network: Network, line: str, tmp_path: Path) -> None:
    report = network.report(LINES[line](network, nothing, tmp_path / "a"), count=7)
    assert report.first_deviation is None, [row for row in report.rows if not row.ok]
    assert report.num_detections > 100
    rows = {row.stage: row for row in report.rows}
    assert len(rows) == (13 if line == "engines" else 19)
    assert rows["keypoints"].scale > 10


@pytest.mark.parametrize("name", CASES)
def test_a_fault_is_found_and_its_stage_named(network: Network, line: str, name: str, tmp_path: Path) -> None:
    case = CASES[name]
    expected = case.whole if line == "engines" else case.row
    if not expected:
        pytest.skip("what it changes cannot be seen from outside the stages, or is no part of engines")
    fault = case.int8 if line == "int8-cpu" and case.int8 is not None else case.fault
    report = network.report(LINES[line](network, fault, tmp_path / "a"))
    assert report.first_deviation in expected.split(" or "), [row for row in report.rows if not row.ok]
