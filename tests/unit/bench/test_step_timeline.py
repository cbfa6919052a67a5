"""The picture of a training step: every part of a real step is in it, and nothing of the measuring stays behind."""

from __future__ import annotations

import copy
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from maskline_bench.step_timeline.__main__ import main, masks_of
from maskline_bench.step_timeline.made import made_batch
from maskline_bench.step_timeline.parts import PARTS
from maskline_bench.step_timeline.plot import plot
from maskline_train.model import mask_rcnn
from support.data.batches import targets_of
from torch import nn

ROOT = Path(__file__).parents[3]
RESULTS = sorted((ROOT / "docs" / "benchmarks").glob("step_timeline_*.json"))
ROUNDED_MS = 0.001  # figures have three digits
# Of ResNet-50-FPN, whose mask branch sees positives alone; zero_grad and averages come when the losses are there.
ORDER = [
    "Backbone", "RPNHead", "sample_anchors", "rpn_terms", "proposal_nms", "sample_rois",
    "roi_align_flat", "box_outputs", "box_terms", "roi_align_flat", "mask_outputs", "mask_targets", "mask_terms",
    "averages", "zero_grad", "backward", "backward", "clip_grad_norm_", "step", "tolist",
]  # fmt: skip


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A tiny step, as the command writes it, with its picture beside it."""
    folder = tmp_path_factory.mktemp("step")
    threads = torch.get_num_threads()
    before = mask_rcnn.sample_rois, torch.autograd.backward, nn.utils.clip_grad_norm_
    main(quick=True, note="a test", json_file=folder / "step.json", svg=folder / "step.svg")
    torch.set_num_threads(threads)
    assert (mask_rcnn.sample_rois, torch.autograd.backward, nn.utils.clip_grad_norm_) == before
    return {**json.loads((folder / "step.json").read_text()), "svg": (folder / "step.svg").read_bytes()}


def test_a_step_has_every_part_one_after_the_other(result: dict[str, Any]) -> None:
    step = result["timeline"]
    assert [range_["call"] for range_ in step["ranges"]] == ORDER
    assert {range_["part"] for range_ in step["ranges"]} == set(PARTS)
    ends = [0.0, *(moment for range_ in step["ranges"] for moment in range_["host_ms"]), step["host_ms"]]
    assert all(later >= earlier - ROUNDED_MS for earlier, later in pairwise(ends))
    assert sum(result["parts"]["host_ms"].values()) <= step["host_ms"] + len(ORDER) * ROUNDED_MS
    assert result["losses"][0] > 0


def test_the_picture_names_every_part_and_is_the_same_every_time(result: dict[str, Any]) -> None:
    for part in PARTS:
        assert f">{part}<".encode() in result["svg"]
    assert plot(result, "svg") == result["svg"]
    assert b">device<" not in result["svg"]


def test_a_device_has_a_lane_of_its_own(result: dict[str, Any]) -> None:
    on_a_gpu = copy.deepcopy(result["timeline"])
    for range_ in on_a_gpu["ranges"]:
        range_["device_ms"] = [moment + 1 for moment in range_["host_ms"]]
    found = plot({"timeline": on_a_gpu}, "svg")
    assert b">host<" in found
    assert b">device<" in found


def test_bytes_of_masks_are_those_of_the_windows() -> None:
    batch = made_batch(shorter_side=96, size=2)
    found = masks_of(batch)
    assert found["objects"] == 14
    assert found["rows"] == 2 * 8
    assert found["whole_canvases_bytes"] == sum(target.masks.numel() for target in targets_of(batch))
    assert (
        sum(int(target.masks.sum()) for target in targets_of(batch)) < found["crops_bytes"] < found["travelling_bytes"]
    )


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: file.stem)
def test_the_committed_picture_is_of_the_committed_step(file: Path) -> None:
    written = (ROOT / "docs" / "pictures" / f"{file.stem}.svg").read_bytes()
    redo = f"run `python -m maskline_bench.step_timeline.plot {file.relative_to(ROOT)} docs/pictures/{file.stem}.svg`"
    assert written == plot(json.loads(file.read_text("utf-8")), "svg"), redo
