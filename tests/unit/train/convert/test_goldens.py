"""Checkpoints that other frameworks wrote find here what those found themselves: boxes, scores, masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from maskline_train.checkpoint import load_model, save_model
from maskline_train.convert.file import import_file
from maskline_train.data.canvas import preprocess_batch
from maskline_train.evaluation.evaluate import to_results
from maskline_train.model.boxes import MAX_LOG_SCALE
from maskline_train.model.mask_rcnn import MaskRCNN
from support.models import foreign

NETWORKS = (
    "detectron2/mask_fpn_bgr",
    "detectron2/keypoint_fpn",
    "detectron2/mask_c4",
    "mmdetection/mask_fpn",
    "mmdetection/mask_c4_caffe",
)


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(network: str) -> MaskRCNN:
    return import_file(foreign.checkpoint(network), foreign.options(network)).model


def detect(model: MaskRCNN, golden: foreign.Golden) -> list[dict[str, Any]]:
    """COCO results of a picture."""
    canvas, info = preprocess_batch([golden.image], model.spec.preprocessing)
    assert canvas.shape[1:3] == golden.padded
    detections = model.detect(torch.from_numpy(canvas), torch.from_numpy(info))
    (results,) = to_results(detections, info, [0], range(model.spec.num_classes), model.spec.paste)
    return results


def matched(results: list[dict[str, Any]], golden: foreign.Golden) -> list[int]:
    boxes = np.array([result["bbox"] for result in results])
    boxes[:, 2:] += boxes[:, :2]
    scores, labels = ([result[name] for result in results] for name in ("score", "category_id"))
    return foreign.found_in(golden, boxes, scores, labels)


def test_every_detection_is_found_in_its_place(model: MaskRCNN, network: str) -> None:
    for golden in foreign.goldens(network).values():
        matched(detect(model, golden), golden)


def test_no_box_is_as_small_as_mmdetection_would_limit_it(model: MaskRCNN, network: str) -> None:
    """It limits dw and dh to log(1000 / 16) on both sides, our decoding growth alone; the docs say how far off."""
    smallest: list[float] = []

    def note(_: object, __: object, outputs: tuple[Any, Any]) -> None:
        for deltas in outputs[1] if isinstance(outputs[1], list | tuple) else [outputs[1]]:
            rows = deltas.reshape(len(deltas), -1, 4, *deltas.shape[2:])
            weights = 1.0 if deltas.dim() == 4 else model.spec.box_head.delta_weights[2]
            smallest.append(float(rows[:, :, 2:4].min()) / weights)

    handles = [head.register_forward_hook(note) for head in (model.rpn_head, model.box_head)]
    for golden in foreign.goldens(network).values():
        detect(model, golden)
    for handle in handles:
        handle.remove()
    print(f"{network}: least log of a side's scale {min(smallest):.2f}")  # noqa: T201 (pytest -s)
    assert len(smallest) >= 6
    assert min(smallest) > -MAX_LOG_SCALE


def test_keypoints_are_the_source_s(model: MaskRCNN, network: str) -> None:
    for golden in foreign.goldens(network).values():
        assert (model.keypoint_head is None) == (golden.keypoints is None)
        if golden.keypoints is not None:
            results = detect(model, golden)
            points = np.array([result["keypoints"] for result in results]).reshape(len(results), -1, 3)
            points[..., :2] += 0.5  # COCO's are indices of pixels
            foreign.keypoints_in(golden, points, matched(results, golden))


def test_every_detection_is_found_at_the_usual_size() -> None:
    name, file = NETWORKS[0], "golden_800_1333.json"
    foreign.assert_nearly_all_equal(apart_at(name, file, foreign.sizes(name)[file]))


def test_masks_are_the_source_s_but_for_a_few_pixels(model: MaskRCNN, network: str) -> None:
    if model.mask_head is None:
        assert all(golden.masks is None for golden in foreign.goldens(network).values())
        return
    sizes = foreign.sizes(network).items()
    foreign.assert_nearly_all_equal([pixels for size in sizes for pixels in apart_at(network, *size)])


def apart_at(name: str, file: str, settings: dict[str, int]) -> list[int]:
    """By how many pixels each mask differs at a size; fails unless each detection is found."""
    model = import_file(foreign.checkpoint(name), foreign.options(name, settings=settings)).model
    apart = []
    for golden in foreign.goldens(name, file).values():
        results = detect(model, golden)
        masks = (result["segmentation"] for result in results)
        apart += foreign.masks_apart(golden, matched(results, golden), masks)
    return apart


def test_the_checkpoint_is_read_back_the_same(tmp_path: Path) -> None:
    imported = import_file(foreign.checkpoint(NETWORKS[0]), foreign.options(NETWORKS[0])).model
    save_model(tmp_path / "checkpoint", imported)
    again = load_model(tmp_path / "checkpoint")
    assert again.spec == imported.spec
    own = imported.state_dict()
    assert all(torch.equal(tensor, own[key]) for key, tensor in again.state_dict().items())


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("detectron2/mask_fpn_bgr", "roi_align.sampling_ratio", 2),
        ("detectron2/mask_fpn_bgr", "roi_align.aligned", False),
        ("detectron2/mask_fpn_bgr", "anchors.rounded", True),
        ("detectron2/mask_fpn_bgr", "channels", "rgb"),
        ("mmdetection/mask_fpn", "preprocessing.resize_filter", "pillow"),
        ("mmdetection/mask_fpn", "backbone.stride_in_1x1", True),
        ("mmdetection/mask_fpn", "channels", "bgr"),
        ("mmdetection/mask_c4_caffe", "preprocessing.canvas_multiple", 1),
        ("mmdetection/mask_c4_caffe", "proposals.max_proposals", 1000),
    ],
)
def test_a_wrong_convention_would_be_noticed(name: str, setting: str, value: Any) -> None:
    more = {"channels": value} if setting == "channels" else {"settings": {setting: value}}
    model = import_file(foreign.checkpoint(name), foreign.options(name, **more)).model
    golden = foreign.goldens(name)["astronaut"]
    with pytest.raises(AssertionError):
        matched(detect(model, golden), golden)
