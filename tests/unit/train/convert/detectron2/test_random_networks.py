"""Each kind of network of detectron2, imported, answers as an implementation of its rules that is not ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from maskline_train.convert.detectron2.config import read_config
from maskline_train.convert.detectron2.convert import import_detectron2
from maskline_train.convert.options import ImportOptions
from maskline_train.convert.reading.foreign_file import read_foreign
from maskline_train.data.canvas import preprocess_batch
from maskline_train.evaluation.evaluate import to_results
from maskline_train.model.mask_rcnn import MaskRCNN
from support.detectron2 import random_networks
from support.detectron2.reference import Found, Reference
from support.models import foreign

# Rounding is 1e-5 of a feature's spread (seen: 2e-5 behind group norms, 9e-6 else) and x 5 for other processors' sums.
FEATURE = 1e-4
# A pair whose overlap is the threshold's but for rounding, or the last of the 100, may change: seen none, a fault many.
SMALLEST_SHARE = 0.95
# Of masks the same to the last pixel; the others are a pixel at the threshold apart. Seen: 0.96 behind group norms,
# whose features round most, 0.97 else.
SMALLEST_EQUAL, MOST_APART = 0.85, 3
FEWEST = 8  # detections, so that a share says something; the fixtures' picture with the fewest has as many


def compare(model: MaskRCNN, reference: Reference, picture: foreign.Golden) -> None:
    """Fail unless features, boxes with classes and scores, and masks are the reference's."""
    expected = reference.answer(picture.image)
    canvas, info = (torch.from_numpy(array) for array in preprocess_batch([picture.image], model.spec.preprocessing))
    with torch.no_grad():
        features = model.backbone(canvas, info)
    for ours, theirs in zip(features, expected.features.values(), strict=True):
        assert ours.shape == theirs.shape
        assert float((ours - theirs).abs().max() / theirs.std()) < FEATURE
    (results,) = to_results(model.detect(canvas, info), info.numpy(), [0], range(5), model.spec.paste)
    boxes = np.array([result["bbox"] for result in results]).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    labels = np.array([result["category_id"] for result in results])
    distance = np.abs(boxes[:, None] - expected.boxes.double().numpy()[None]).max(2)
    distance[labels[:, None] != expected.classes.numpy()[None]] = np.inf
    found, answer = np.nonzero(distance <= foreign.BOX_PX)
    assert len(expected.boxes) >= FEWEST
    assert len(set(found)) == len(found) == len(set(answer))
    assert len(found) >= SMALLEST_SHARE * max(len(results), len(expected.boxes))
    scores = np.array([result["score"] for result in results])
    assert np.abs(scores[found] - expected.scores.numpy()[answer]).max() <= foreign.SCORE
    compare_masks([results[row].get("segmentation") for row in found], expected, answer.tolist())


def compare_masks(masks: list[Any], expected: Found, answers: list[int]) -> None:
    if expected.masks is None:
        assert masks == [None] * len(masks)
        return
    pairs = zip(masks, expected.masks[answers].numpy(), strict=True)
    apart = np.array([(foreign.pixels(ours) != theirs).sum() for ours, theirs in pairs])
    assert (apart == 0).mean() >= SMALLEST_EQUAL
    assert apart.max() <= MOST_APART


@pytest.mark.parametrize("variant", random_networks.VARIANTS)
def test_a_kind_of_network_is_imported_as_it_is(variant: str, tmp_path: Path) -> None:
    config = random_networks.settings(variant)
    tensors = random_networks.weights(config)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(random_networks.nested(config)), encoding="utf-8")
    model = import_detectron2(tensors, ImportOptions(config=path, classes=random_networks.CLASSES)).model
    compare(model, Reference(tensors, config), foreign.goldens("detectron2/mask_fpn_bgr")["astronaut"])


@pytest.mark.parametrize("network", ["detectron2/mask_fpn_bgr", "detectron2/mask_c4"])
def test_the_reference_finds_what_detectron2_found(network: str) -> None:
    path = foreign.options(network).config
    assert path is not None
    reference = Reference(read_foreign(foreign.checkpoint(network)).tensors, read_config(path))
    golden = foreign.goldens(network)["chelsea"]
    found = reference.answer(golden.image)
    foreign.found_in(golden, found.boxes.numpy(), found.scores.numpy(), found.classes.numpy())
