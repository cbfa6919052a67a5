"""A file of Detectron finds here what Detectron's rules find, and what an import does not repeat is measured.

The weights are a calibrated network's, so that the pictures have objects, saved as Detectron would have: what it
computes is another network than the source of the weights, and the rules are those of `support/models`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from maskline_train.convert.check.answers import Answer, our_answer
from maskline_train.convert.check.compare import Comparison
from maskline_train.convert.detectron.convert import import_detectron
from maskline_train.convert.file import import_file
from maskline_train.convert.options import ImportOptions
from maskline_train.data.canvas import preprocess_batch
from maskline_train.data.images import Pixels
from maskline_train.model.mask_rcnn import MaskRCNN
from support.models import detectron_configs, detectron_files, detectron_reference, detectron_specs, foreign
from support.models import pixel_boxes as rules

KINDS = {"detectron2/mask_fpn_bgr": detectron_specs.FPN, "detectron2/mask_c4": detectron_specs.C4}


@pytest.fixture(scope="module", params=KINDS)
def network(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(network: str) -> MaskRCNN:
    source = import_file(foreign.checkpoint(network), foreign.options(network)).model
    anchors = detectron_specs.anchors(pyramid=source.spec.backbone.features == "fpn")
    spec = dataclasses.replace(source.spec, anchors=anchors, pixel_boxes=True)
    blobs = detectron_files.blobs_of_detectron(source.state_dict(), spec)
    config = detectron_configs.settings_of(dataclasses.replace(KINDS[network], classes=spec.classes))
    return import_detectron(blobs, ImportOptions(classes=spec.classes), detectron_configs.dumped(config)).model


@torch.no_grad()
def by_the_rules(model: MaskRCNN, image: Pixels) -> Answer:
    """The rules that an import repeats: widths with + 1, clipping to the last pixel, listed anchors, >= in NMS."""
    canvas, info = preprocess_batch([image], model.spec.preprocessing)
    size = float(info[0, 0]), float(info[0, 1])
    features = model.backbone(torch.from_numpy(canvas), torch.from_numpy(info))
    proposals = rules.proposals(model.spec, *model.rpn_head(features), size)
    boxes, scores, labels = rules.detections(model, features, proposals, size)
    back = np.array([image.shape[1] / size[1], image.shape[0] / size[0]] * 2)
    return Answer((boxes * back).astype(np.float32), scores.astype(np.float32), labels, None, None)


def test_every_detection_is_that_of_the_rules(model: MaskRCNN, network: str) -> None:
    for picture, golden in foreign.goldens(network).items():
        expected, found = by_the_rules(model, golden.image), our_answer(model, golden.image)
        assert len(expected.boxes) == len(found.boxes) > 3, picture
        distance = np.abs(found.boxes[:, None] - expected.boxes[None]).max(2)
        distance[found.labels[:, None] != expected.labels[None]] = np.inf
        partner = distance.argmin(1)
        assert sorted(partner) == list(range(len(partner)))
        assert distance.min(1).max() <= foreign.BOX_PX
        assert np.abs(found.scores - expected.scores[partner]).max() <= foreign.SCORE


def compared(model: MaskRCNN, network: str, same_pixels: bool) -> Comparison:
    """Detectron whole against ours, as `--check` compares."""
    comparison = Comparison()
    for golden in foreign.goldens(network).values():
        theirs = detectron_reference.answer(model, golden.image, same_pixels)
        comparison.add(theirs, dataclasses.replace(our_answer(model, golden.image), masks=None))
    print(f"{network}{', on the same pixels' * same_pixels}: {comparison.line()}")  # noqa: T201 (pytest -s)
    return comparison


def test_on_the_same_pixels_it_is_the_same_network(model: MaskRCNN, network: str) -> None:
    """Though Detectron decodes in the picture and lets proposals into the padding: `--check` would say so."""
    assert compared(model, network, same_pixels=True).same


@pytest.mark.long
def test_pixels_are_the_difference_that_is_named(model: MaskRCNN, network: str) -> None:
    """Should they become Detectron's, the page and the report have to say so."""
    pixels, same = (compared(model, network, same_pixels=same) for same in (False, True))
    assert np.median(pixels.boxes) > np.median(same.boxes)
    assert pixels.share < same.share
