"""Which network a state dict is of, for the full-size networks of detectron2 and torchvision and for others' signs."""

from __future__ import annotations

import re

import pytest
from maskline_train.convert.detectron2.convert import import_detectron2
from maskline_train.convert.frameworks import recognise
from maskline_train.convert.options import ImportOptions
from maskline_train.convert.torchvision_weights import import_from_torchvision
from support.models import foreign

NAMED = tuple(f"class {index}" for index in range(1203))
IMPORTS = {"detectron2": import_detectron2, "torchvision": import_from_torchvision}
OPTIONS = {
    "detectron2": lambda classes: ImportOptions(classes=classes, zoo=True),
    "torchvision": lambda classes: ImportOptions(norm_eps=0.0),
}
# Network, what its report finds, or why it is refused.
LOADED = {
    "detectron2_mask_rcnn_R_50_FPN_3x": "ResNet-50 FPN, 80 classes, boxes, masks",
    "detectron2_mask_rcnn_R_50_FPN_1x_cls_agnostic": "ResNet-50 FPN, 80 classes, boxes, masks",
    "detectron2_mask_rcnn_R_50_C4_3x": "ResNet-50 C4, 80 classes, boxes, masks",
    "detectron2_mask_rcnn_X_101_32x8d_FPN_3x": "ResNeXt-101 32x8d FPN, 80 classes, boxes, masks",
    "detectron2_keypoint_rcnn_R_50_FPN_3x": "ResNet-50 FPN, 1 classes, boxes, keypoints",
    "detectron2_lvis_mask_rcnn_R_50_FPN_1x": "ResNet-50 FPN, 1203 classes, boxes, masks",
    "torchvision_maskrcnn_resnet50_fpn": "ResNet-50 FPN, 90 classes, boxes, masks",
    "torchvision_fasterrcnn_resnet50_fpn": "ResNet-50 FPN, 90 classes, boxes",
    "torchvision_keypointrcnn_resnet50_fpn": "ResNet-50 FPN, 1 classes, boxes, keypoints",
}
REFUSED = {
    "detectron2_cascade_mask_rcnn_R_50_FPN_3x": "a Cascade R-CNN of detectron2",
    "detectron2_mask_rcnn_R_50_FPN_3x_dconv_c3_c5": "deformable convolutions",
    "detectron2_panoptic_fpn_R_50_3x": "a panoptic network of detectron2",
    "detectron2_retinanet_R_50_FPN_3x": "a RetinaNet of detectron2",
    "torchvision_fasterrcnn_mobilenet_v3_large_320_fpn": "a MobileNet body",
}
UNSUPPORTED = {
    "detectron2_mask_rcnn_R_50_DC5_3x": "a dilated C5",
    "detectron2_mask_rcnn_R_50_FPN_3x_gn": "group norm in the pyramid",
    "detectron2_mask_rcnn_R_50_FPN_3x_syncbn": "a box head with 4 convolutions",
    "torchvision_fasterrcnn_resnet50_fpn_v2": "`_v2`",
    "torchvision_maskrcnn_resnet50_fpn_v2": "`_v2`",
}


@pytest.mark.parametrize("network", LOADED)
def test_a_full_size_network_is_recognised_and_loads_whole(network: str) -> None:
    weights = foreign.weights(network)
    framework = recognise(weights)
    assert network.startswith(framework)
    imported = IMPORTS[framework](weights, OPTIONS[framework](NAMED if "lvis" in network else None))
    assert imported.report.found[0] == f"{framework}, {LOADED[network]}; {len(weights)} tensors"


@pytest.mark.parametrize("network", REFUSED)
def test_what_is_not_supported_is_called_by_its_name(network: str) -> None:
    with pytest.raises(ValueError, match=f"^got .*{REFUSED[network]}.*, expected a Mask R-CNN of detectron2 or torch"):
        recognise(foreign.shapes(network))


@pytest.mark.parametrize("network", UNSUPPORTED)
def test_what_our_network_lacks_is_named(network: str) -> None:
    weights = foreign.weights(network)
    framework = recognise(weights)
    with pytest.raises(ValueError, match=f"{UNSUPPORTED[network]}.*not supported yet"):
        IMPORTS[framework](weights, OPTIONS[framework](None))


def test_every_network_in_the_folder_is_looked_at() -> None:
    assert sorted([*LOADED, *REFUSED, *UNSUPPORTED]) == sorted(
        path.stem for path in (foreign.FOLDER / "keys").iterdir()
    )


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("rpn_head.rpn_conv.weight", "mmdetection"),
        ("roi_head.bbox_head.0.fc_cls.weight", "Cascade R-CNN of mmdetection"),
        ("roi_heads.box.feature_extractor.fc6.weight", "maskrcnn-benchmark"),
        ("conv1_w", "Detectron"),
        ("layer1.0.conv1.weight", "ResNet classifier"),
        ("box_head.class_logits.weight", "maskline's own"),
        ("head.classification_head.cls_logits.weight", "one-stage network of torchvision"),
        ("encoder.layer.weight", re.escape("of no network that is known (first 'encoder.layer.weight')")),
    ],
)
def test_another_network_is_told_by_one_name(name: str, network: str) -> None:
    with pytest.raises(ValueError, match=network):
        recognise([name])
