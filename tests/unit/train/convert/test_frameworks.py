"""Which network a state dict is of, for the full-size networks of each framework and for others' signs."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import yaml
from maskline_train.convert.architecture import Features
from maskline_train.convert.detectron2.config import read_config, zoo_values
from maskline_train.convert.detectron2.convert import import_detectron2
from maskline_train.convert.frameworks import recognise
from maskline_train.convert.mmdetection.convert import import_mmdetection
from maskline_train.convert.options import ImportOptions
from maskline_train.convert.torchvision_weights import import_from_torchvision
from support.models import foreign, mmdetection_configs

NAMED = tuple(f"class {index}" for index in range(1203))
IMPORTS = {
    "detectron2": import_detectron2,
    "mmdetection": lambda weights, options: import_mmdetection(weights, options, {}),
    "torchvision": import_from_torchvision,
}
OPTIONS = {
    "detectron2": lambda classes: ImportOptions(classes=classes, zoo=True),
    "mmdetection": lambda classes: ImportOptions(classes=NAMED[:80]),
    "torchvision": lambda classes: ImportOptions(),
}
# Network, what its report finds, or why it is refused.
LOADED = {
    "detectron2_mask_rcnn_R_50_FPN_3x": "ResNet-50 FPN, 80 classes, boxes, masks",
    "detectron2_mask_rcnn_R_50_FPN_1x_cls_agnostic": "ResNet-50 FPN, 80 classes, boxes, masks",
    "detectron2_mask_rcnn_R_50_FPN_3x_gn": "ResNet-50 FPN, 80 classes, boxes, masks",
    "detectron2_mask_rcnn_R_50_FPN_3x_syncbn": "ResNet-50 FPN, 80 classes, boxes, masks",
    "detectron2_mask_rcnn_R_50_DC5_3x": "ResNet-50 DC5, 80 classes, boxes, masks",
    "detectron2_mask_rcnn_R_50_C4_3x": "ResNet-50 C4, 80 classes, boxes, masks",
    "detectron2_mask_rcnn_X_101_32x8d_FPN_3x": "ResNeXt-101 32x8d FPN, 80 classes, boxes, masks",
    "detectron2_keypoint_rcnn_R_50_FPN_3x": "ResNet-50 FPN, 1 classes, boxes, keypoints",
    "detectron2_lvis_mask_rcnn_R_50_FPN_1x": "ResNet-50 FPN, 1203 classes, boxes, masks",
    "mmdetection_mask_rcnn_r50_fpn_1x_coco": "ResNet-50 FPN, 80 classes, boxes, masks",
    "mmdetection_mask_rcnn_r50_fpn_8xb8_amp_lsj_200e_coco": "ResNet-50 FPN, 80 classes, boxes, masks",
    "mmdetection_mask_rcnn_r50_fpn_gn_all_2x_coco": "ResNet-50 FPN, 80 classes, boxes, masks",
    "mmdetection_mask_rcnn_x101_32x4d_fpn_1x_coco": "ResNeXt-101 32x4d FPN, 80 classes, boxes, masks",
    "mmdetection_mask_rcnn_r50_caffe_c4_1x_coco": "ResNet-50 C4, 80 classes, boxes, masks",
    "mmdetection_faster_rcnn_r50_caffe_dc5_1x_coco": "ResNet-50 DC5, 80 classes, boxes",
    "torchvision_maskrcnn_resnet50_fpn": "ResNet-50 FPN, 90 classes, boxes, masks",
    "torchvision_maskrcnn_resnet50_fpn_v2": "ResNet-50 FPN, 90 classes, boxes, masks",
    "torchvision_fasterrcnn_resnet50_fpn_v2": "ResNet-50 FPN, 90 classes, boxes",
    "torchvision_fasterrcnn_resnet50_fpn": "ResNet-50 FPN, 90 classes, boxes",
    "torchvision_keypointrcnn_resnet50_fpn": "ResNet-50 FPN, 1 classes, boxes, keypoints",
}
REFUSED = {
    "detectron2_cascade_mask_rcnn_R_50_FPN_3x": "a Cascade R-CNN of detectron2",
    "detectron2_mask_rcnn_R_50_FPN_3x_dconv_c3_c5": "deformable convolutions",
    "detectron2_panoptic_fpn_R_50_3x": "a panoptic network of detectron2",
    "detectron2_retinanet_R_50_FPN_3x": "a RetinaNet of detectron2",
    "mmdetection_cascade_mask_rcnn_r50_fpn_1x_coco": "a Cascade R-CNN of mmdetection",
    "torchvision_fasterrcnn_mobilenet_v3_large_320_fpn": "a MobileNet body",
}
# What the model zoo's configs say of bodies that are no ResNet with frozen norms.
BODIES = {
    "detectron2_mask_rcnn_R_50_FPN_3x_gn": {
        "PIXEL_STD": [1.0, 1.0, 1.0],
        "RESNETS": {"NORM": "GN", "STRIDE_IN_1X1": False},
    },
    "detectron2_mask_rcnn_R_50_FPN_3x_syncbn": {
        "PIXEL_STD": [1.0, 1.0, 1.0],
        "RESNETS": {"NORM": "SyncBN", "STRIDE_IN_1X1": True},
    },
    "detectron2_mask_rcnn_X_101_32x8d_FPN_3x": {
        "PIXEL_STD": [57.375, 57.12, 58.395],
        "RESNETS": {"NORM": "FrozenBN", "STRIDE_IN_1X1": False},
    },
}


@pytest.mark.parametrize("network", LOADED)
def test_a_full_size_network_is_recognised_and_loads_whole(network: str, tmp_path: Path) -> None:
    weights = foreign.weights(network)
    framework = recognise(weights)
    assert network.startswith(framework)
    options = OPTIONS[framework](NAMED if "lvis" in network else None)
    if network in BODIES:
        (tmp_path / "config.yaml").write_text(yaml.safe_dump({"MODEL": BODIES[network]}))
        options = dataclasses.replace(options, config=tmp_path / "config.yaml")
    if framework == "mmdetection":
        narrow, changes = mmdetection_configs.PUBLISHED[network.removeprefix("mmdetection_")]
        config = mmdetection_configs.changed(mmdetection_configs.config_of(narrow), changes)
        options = dataclasses.replace(options, config=mmdetection_configs.written(config, tmp_path))
    imported = IMPORTS[framework](weights, options)
    assert imported.model.spec.backbone.least_group_channels == 1 or framework == "torchvision"  # no group norm there
    assert (
        imported.report.found[0]
        == f"{framework}{' v2' * network.endswith('_v2')}, {LOADED[network]}; {len(weights)} tensors"
    )


@pytest.mark.parametrize("network", BODIES)
def test_settings_that_the_zoo_changes_from_body_to_body_are_not_guessed(network: str) -> None:
    with pytest.raises(ValueError, match=r"MODEL.RESNETS.STRIDE_IN_1X1, .*give the config.yaml beside these weights"):
        import_detectron2(foreign.weights(network), ImportOptions(zoo=True))


@pytest.mark.parametrize(("network", "features"), [("mask_fpn_bgr", "fpn"), ("keypoint_fpn", "fpn"), ("mask_c4", "c4")])
def test_the_zoo_s_settings_are_those_of_its_dumped_configs(network: str, features: Features) -> None:
    config = read_config(foreign.FOLDER / "detectron2" / network / "config.yaml")
    small = {"INPUT.MIN_SIZE_TEST": 256, "INPUT.MAX_SIZE_TEST": 427}
    zoo = zoo_values(features)
    assert {name: config[name] for name in zoo} == {**zoo, **small}


@pytest.mark.parametrize("network", REFUSED)
def test_what_is_not_supported_is_called_by_its_name(network: str) -> None:
    with pytest.raises(ValueError, match=f"^got .*{REFUSED[network]}.*, expected a Mask R-CNN of detectron2, mmd"):
        recognise(foreign.shapes(network))


def test_every_network_in_the_folder_is_looked_at() -> None:
    assert sorted([*LOADED, *REFUSED]) == sorted(
        f"{folder}_{path.stem}" for folder in IMPORTS for path in (foreign.FOLDER / "keys" / folder).glob("*.json")
    )


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("roi_head.bbox_head.0.fc_cls.weight", "Cascade R-CNN of mmdetection"),
        ("rpn.head.cls_tower.0.weight", "RetinaNet of maskrcnn-benchmark"),
        ("retnet_cls_conv_n0_fpn3_w", "RetinaNet of Detectron"),
        ("conv1_w", "blobs of Detectron without a region proposal network"),
        ("backbone.bottom_up.layers.0.blocks.0.attn.relative_position_bias_table", "a Swin body.*it would take"),
        ("backbone.stem.0.weight", "a ResNet-D body.*it would take"),
        ("backbone.body.layer2.0.conv2.offset.weight", "deformable convolutions.*it would take"),
        ("backbone.body.0.0.weight", "a MobileNet body.*it would take"),
        ("bbox_head.fc_cls.weight", "a network of mmdetection 1.x, .*its background is the first class"),
        ("bbox_head.cls_convs.0.conv.weight", "one-stage network of mmdetection"),
        ("backbone.patch_embed.projection.weight", "a Swin body"),
        ("backbone.stage2.0.branches.0.0.conv1.weight", "an HRNet body"),
        ("backbone.layer2.0.conv2.conv_offset.weight", "deformable convolutions"),
        ("neck.downsample_convs.0.conv.weight", "another neck"),
        ("roi_head.mask_iou_head.fc_mask_iou.weight", "further heads"),
        ("roi_head.bbox_head.cls_convs.0.conv.weight", "a divided box head"),
        ("semantic_head.lateral_convs.0.conv.weight", "a panoptic network of mmdetection"),
        ("layer1.0.conv1.weight", "ResNet classifier"),
        ("box_head.class_logits.weight", "maskline's own"),
        ("head.classification_head.cls_logits.weight", "one-stage network of torchvision"),
        ("encoder.layer.weight", re.escape("of no network that is known (first 'encoder.layer.weight')")),
    ],
)
def test_another_network_is_told_by_one_name(name: str, network: str) -> None:
    with pytest.raises(ValueError, match=network):
        recognise([name])
