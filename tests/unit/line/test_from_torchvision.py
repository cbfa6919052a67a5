"""`maskline.from_torchvision`: a picture goes into torchvision's network and into our detector; the same comes out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import maskline
import numpy as np
import pytest
import torch
from maskline_client import Detections
from maskline_train.convert.options import ImportOptions
from maskline_train.convert.torchvision_module import import_torchvision_module
from support.export.kept_traces import kept_traces
from support.models.small_recipes import BLOCKS, few_blocks
from support.models.torchvision_models import random_images, randomise
from torch import nn
from torchvision.models import resnet18
from torchvision.models.detection import (
    FasterRCNN,
    MaskRCNN,
    fasterrcnn_resnet50_fpn,
    keypointrcnn_resnet50_fpn,
    maskrcnn_resnet50_fpn,
    maskrcnn_resnet50_fpn_v2,
)
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN, resnet_fpn_backbone
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign, box_iou

CLASSES = ("a", "b", "c")
NO_WEIGHTS = {"weights": None, "weights_backbone": None}
# Not the constructors' values, so that each of them has to be read from the network; few boxes, for speed.
OWN = {
    "min_size": 160,
    "max_size": 240,
    "rpn_pre_nms_top_n_test": 300,
    "rpn_post_nms_top_n_test": 60,
    "rpn_nms_thresh": 0.65,
    "box_score_thresh": 0.1,
    "box_nms_thresh": 0.45,
    "box_detections_per_img": 30,
}
FEW = "resnet18 of few blocks"
MADE: dict[str, Callable[[], nn.Module]] = {
    FEW: lambda: MaskRCNN(BackboneWithFPN(few_blocks_of_18(), READ, CHANNELS, 256), num_classes=4, **OWN),
    "resnet18": lambda: MaskRCNN(resnet_fpn_backbone(backbone_name="resnet18", weights=None), num_classes=4, **OWN),
    "maskrcnn": lambda: maskrcnn_resnet50_fpn(**NO_WEIGHTS, num_classes=4, **OWN),
    "maskrcnn_v2": lambda: maskrcnn_resnet50_fpn_v2(**NO_WEIGHTS, num_classes=4, **OWN),
    "fasterrcnn": lambda: fasterrcnn_resnet50_fpn(**NO_WEIGHTS, num_classes=4, **OWN),
    "keypointrcnn": lambda: keypointrcnn_resnet50_fpn(**NO_WEIGHTS, **OWN),
}
SIZES = [(300, 203), (120, 90), (333, 500), (97, 160)]  # portrait and landscape, shrunk and enlarged
# Of networks in float32 on the same pixels of a canvas 4e-3 px and 5e-4, as foreign.BOX_PX and SCORE are. A pixel of it
# is up to 2.1 of a picture, and a value on the edge of two levels may be rounded to the other one: twice that again.
BOX_PX, SCORE = 0.02, 1e-3
KEYPOINT_PX, KEYPOINT_SCORE = 2 * BOX_PX, 0.02  # from the box on both sides; a logit, of the order of 10
# Our resized pixels are whole levels of 255, torchvision's are floats. Boxes move by some hundredths of a pixel for
# that, and of two that overlap by about the threshold the other one may stay: random networks are full of such pairs.
SMALLEST_IOU, SMALLEST_SHARE = 0.98, 0.9


READ, CHANNELS = {f"layer{stage}": str(stage - 1) for stage in (1, 2, 3, 4)}, [64, 128, 256, 512]


def few_blocks_of_18() -> ResNet:
    """ResNet-18 as `few_blocks` has it: exporting takes half of the time."""
    return ResNet(BasicBlock, list(BLOCKS[18]), norm_layer=FrozenBatchNorm2d)


class InWholeLevels(GeneralizedRCNNTransform):
    """torchvision's transform, whose resized pixels are then rounded as ours are."""

    def resize(self, image: torch.Tensor, target: Any = None) -> Any:
        resized, target = super().resize(image, target)
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.image_mean, self.image_std))
        return (((resized * std + mean) * 255).round() / 255 - mean) / std, target


def made(name: str) -> Any:
    torch.manual_seed(0)
    network = MADE[name]().eval()
    randomise(network)
    return network


@pytest.mark.parametrize("name", [name if name == FEW else pytest.param(name, marks=pytest.mark.long) for name in MADE])
def test_it_finds_in_pictures_what_torchvision_finds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == FEW:
        few_blocks(monkeypatch)
    network = made(name)
    classes = None if name == "keypointrcnn" else CLASSES
    with kept_traces():
        detector = maskline.from_torchvision(network, classes=classes)
    with detector:
        for pixels in random_images(SIZES):
            found = detector.detect(pixels.permute(1, 2, 0).numpy())
            assert_nearly(found, answer(network, pixels))
            floats, network.transform = network.transform, in_whole_levels(network.transform)
            wanted = answer(network, pixels)
            network.transform = floats
            order = assert_found(found, wanted)
            assert (found.rle is None) == ("masks" not in wanted)
            if found.rle is not None:
                assert_same_masks(found.masks(), wanted["masks"][order, 0] > 0.5)
            assert (found.keypoints is None) == ("keypoints" not in wanted)
            if found.keypoints is not None:
                assert_same_keypoints(found.keypoints, wanted["keypoints"][order], wanted["keypoints_scores"][order])


def answer(network: Any, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        (found,) = network([pixels.float() / 255])
    return dict(found)


def in_whole_levels(transform: Any) -> InWholeLevels:
    return InWholeLevels(transform.min_size, transform.max_size, transform.image_mean, transform.image_std).eval()


def assert_found(found: Detections, wanted: dict[str, torch.Tensor]) -> list[int]:
    """All of it, each once; for each detection of ours the row that it is."""
    assert len(found) == len(wanted["scores"]) >= 10
    distance = (torch.from_numpy(found.boxes)[:, None] - wanted["boxes"][None]).abs().amax(2)
    distance[torch.from_numpy(found.labels)[:, None] + 1 != wanted["labels"][None]] = np.inf
    nearest, order = distance.min(1)
    assert nearest.max() <= BOX_PX
    assert sorted(order.tolist()) == list(range(len(found)))
    assert (torch.from_numpy(found.scores) - wanted["scores"][order]).abs().max() <= SCORE
    rows: list[int] = order.tolist()
    return rows


def assert_same_masks(ours: np.ndarray, theirs: torch.Tensor) -> None:
    """By torchvision's own paste: pixels whose value is one half but for rounding may fall on either side.

    These masks are random and have many such pixels: 18 of the 205 000 of a picture's 30. By the other rule,
    `aligned`, a fifth differ.
    """
    assert theirs.flatten(1).any(1).all()
    apart = (torch.from_numpy(ours) != theirs).sum()
    print(f"{apart} of {theirs.sum()} pixels of {len(theirs)} masks apart")  # noqa: T201 (pytest -s)
    assert apart <= 0.005 * theirs.sum()


def assert_same_keypoints(ours: np.ndarray, theirs: torch.Tensor, scores: torch.Tensor) -> None:
    """All but those with two equally good pixels, which these random heatmaps have."""
    points = torch.from_numpy(ours)
    near = (points[..., :2] - theirs[..., :2]).abs().amax(2) <= KEYPOINT_PX
    assert near.float().mean() >= SMALLEST_SHARE
    assert (points[..., 2] - scores)[near].abs().max() <= KEYPOINT_SCORE


def assert_nearly(found: Detections, wanted: dict[str, torch.Tensor]) -> None:
    """Nearly all of what its floats give."""
    overlap = box_iou(torch.from_numpy(found.boxes), wanted["boxes"])
    overlap[torch.from_numpy(found.labels)[:, None] + 1 != wanted["labels"][None]] = 0
    assert (overlap.amax(1) >= SMALLEST_IOU).float().mean() >= SMALLEST_SHARE


def test_a_network_s_own_settings_are_read_from_it() -> None:
    network = made("resnet18")
    network.transform.image_mean = [0.5, 0.4, 0.3]
    spec = import_torchvision_module(network, ImportOptions(classes=CLASSES)).model.spec
    assert (spec.preprocessing.shorter_side_px, spec.preprocessing.longer_side_px) == (160, 240)
    assert spec.preprocessing.mean == (127.5, 102.0, 76.5)
    assert (spec.preprocessing.resize_filter, spec.preprocessing.size_rule) == ("torch", "floor")
    assert (spec.proposals.pre_nms_per_level, spec.proposals.max_proposals, spec.proposals.nms_thresh) == (
        300,
        60,
        0.65,
    )
    assert (spec.box_head.score_thresh, spec.box_head.nms_thresh, spec.box_head.max_detections) == (0.1, 0.45, 30)
    said = import_torchvision_module(network, ImportOptions(classes=CLASSES, settings={"box_head.nms_thresh": 0.3}))
    assert said.model.spec.box_head.nms_thresh == 0.3
    assert not any("constructors" in line for line in said.report.assumed)
    for wrapped in (nn.DataParallel(network), torch.compile(network)):
        assert import_torchvision_module(wrapped, ImportOptions(classes=CLASSES)).model.spec == spec


def test_settings_that_our_spec_has_not_are_refused_by_name() -> None:
    def refused(text: str, **other: Any) -> None:
        body = resnet_fpn_backbone(backbone_name="resnet18", weights=None)
        network = FasterRCNN(body, num_classes=4, **other)
        with pytest.raises(ValueError, match=text):
            import_torchvision_module(network, ImportOptions(classes=CLASSES))

    sizes = ((32,), (64,), (128,), (256,), (512,))
    ratios = ((0.5, 1.0),) * 4 + ((1.0, 2.0),)
    refused("the same ratios on each level", rpn_anchor_generator=AnchorGenerator(sizes, ratios))
    pooler = MultiScaleRoIAlign(["0", "1", "2", "3"], (7, 5), 2)
    refused(r"box_head, the sides of what it reads: got 7, expected 5", box_roi_pool=pooler)
    with pytest.raises(ValueError, match=r"got ResNet, expected a network of torchvision\.models\.detection"):
        import_torchvision_module(resnet18(), ImportOptions(classes=CLASSES))
    network = made("resnet18")
    network.backbone.body.layer4[0].conv2.dilation = (2, 2)
    with pytest.raises(ValueError, match="the stride of the last stage"):
        import_torchvision_module(network, ImportOptions(classes=CLASSES))


def test_a_text_is_no_list_of_names() -> None:
    with pytest.raises(ValueError, match=r"got the text 'a,b,c', expected a list of names, e\.g\. \['a', 'b', 'c'\]"):
        maskline.from_torchvision("nowhere.pth", classes="a,b,c")


def test_what_differs_is_logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    few_blocks(monkeypatch)
    with caplog.at_level(logging.INFO, "maskline"), kept_traces():
        maskline.from_torchvision(made(FEW), classes=CLASSES).close()
    assert any(record.levelno == logging.INFO and "torchvision" in record.message for record in caplog.records)
    assert any(
        record.levelno == logging.WARNING and "rounded to whole levels" in record.message for record in caplog.records
    )
