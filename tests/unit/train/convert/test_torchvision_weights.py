"""What `maskline-train import` makes of torchvision's networks finds what these find, on canvases of any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from maskline_train.convert.file import import_file
from maskline_train.convert.options import ImportOptions
from maskline_train.evaluation.evaluate import to_results
from maskline_train.model.backbone.norms import FrozenBatchNorm
from maskline_train.model.mask_rcnn import Detections
from maskline_train.spec import PasteRule
from pycocotools import mask as coco_mask
from support.models.torchvision_models import as_canvas, in_float64, random_images, randomise, their_detections
from torch import nn
from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.roi_heads import paste_masks_in_image

CLASSES = ("a", "b", "c")
CUT = {"num_classes": 4, "rpn_post_nms_top_n_test": 60, "box_detections_per_img": 30}  # fewer, for speed alone
NO_WEIGHTS = {"weights": None, "weights_backbone": None}
MADE = {
    "v1": lambda: maskrcnn_resnet50_fpn(**NO_WEIGHTS, **CUT),
    "v2": lambda: maskrcnn_resnet50_fpn_v2(**NO_WEIGHTS, **CUT),
    "resnet18": lambda: MaskRCNN(resnet_fpn_backbone(backbone_name="resnet18", weights=None), **CUT),
    "resnext50_32x4d": lambda: MaskRCNN(resnet_fpn_backbone(backbone_name="resnext50_32x4d", weights=None), **CUT),
}
LONG = ("resnext50_32x4d",)


@pytest.mark.parametrize("version", [pytest.param(v, marks=pytest.mark.long if v in LONG else ()) for v in MADE])
def test_detections_are_torchvision_s(version: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = MADE[version]().eval()
    give_statistics(theirs)
    randomise(theirs)
    torch.save(theirs.state_dict(), tmp_path / "model.pth")
    settings = {"proposals.max_proposals": 60, "box_head.max_detections": 30}
    eps = None if version == "v2" else 1e-5
    ours = import_file(tmp_path / "model.pth", ImportOptions(classes=CLASSES, norm_eps=eps, settings=settings)).model
    images = random_images([(131, 203)])  # a canvas of 160 x 224, where P6's anchors do not lie 64 px apart
    (wanted,) = their_detections(theirs.double(), in_float64(images))
    found = ours.double().detect(*as_canvas(images))
    count = int(found.num_detections[0])
    assert count == len(wanted["scores"]) >= 10
    assert torch.equal(found.labels[0, :count] + 1, wanted["labels"])
    # Both networks are float64; ours keeps boxes in float32, where a coordinate of 200 px steps by 1.5e-5.
    assert torch.allclose(found.boxes[0, :count].double(), wanted["boxes"], rtol=2e-6, atol=1e-4)
    assert torch.allclose(found.scores[0, :count].double(), wanted["scores"], rtol=0, atol=1e-4)
    assert found.masks is not None
    assert torch.allclose(found.masks[0, :count].double(), wanted["masks"][:, 0], rtol=0, atol=1e-4)
    canvas = ours.spec.preprocessing
    assert (canvas.canvases, canvas.canvas_multiple) == ((), 32)
    assert any(isinstance(module, FrozenBatchNorm) for module in ours.modules())
    assert_pasted_alike(found, (131, 203), ours.spec.paste)


def assert_pasted_alike(found: Detections, size: tuple[int, int], rule: PasteRule) -> None:
    """The pixels that torchvision's function gives our masks; within 1.2e-5 of one half its rounding may decide.

    Border pixels are some thousand, their values spread over 0 to 1: one of them that near is already rare.
    """
    assert found.masks is not None
    count = int(found.num_detections[0])
    masks, boxes = found.masks[0, :count].float(), found.boxes[0, :count].float()
    wanted = paste_masks_in_image(masks[:, None], boxes, size)[:, 0] > 0.5
    info = np.array([[*size, 1, 1, *size]], np.float32)
    (results,) = to_results(found, info, [0], range(len(CLASSES)), rule)
    ours = torch.from_numpy(np.stack([coco_mask.decode(result["segmentation"]) for result in results])).bool()
    assert (ours != wanted).sum() <= 1
    assert wanted.any(dim=2).any(dim=1).all()


@torch.no_grad()
def give_statistics(model: nn.Module) -> None:
    """Statistics that show whether a norm was folded right, for all ordinary batch norms."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.7, 1.5)
            module.weight.uniform_(0.7, 1.3)
            module.bias.uniform_(-0.1, 0.1)
