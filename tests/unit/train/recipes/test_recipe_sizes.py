"""Each recipe's network at full size has the parameters that the papers' tables and figures give it, counted by hand.

The count is checked against published networks first: torchvision's classifiers for the bodies, its detectors for the
whole. Letters: C channels, K classes, A anchors a cell, P pooled side, M mask side, J keypoints.
"""

import dataclasses

import pytest
import torch
import torchvision.models as classifiers
from maskline_train.data.cityscapes import CLASSES as CITYSCAPES
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.recipes import load_recipe, recipe_names
from maskline_train.spec import BackboneSpec, BoxHeadSpec, KeypointHeadSpec, MaskHeadSpec, ModelSpec
from torchvision.models import detection as detectors

# ResNet paper, table 1; the first two depths are of basic blocks
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
BASIC = (18, 34)
COCO = tuple(f"class {index}" for index in range(80))
# In millions, for COCO's 80 classes or its person, 8 classes of Cityscapes, ten digits. Where the body and the heads
# are published (see below) these are their sums; a ResNeXt-152 and the single-level models are not.
MILLIONS = {
    **{"mask_rcnn_r50_fpn": 44.3, "mask_rcnn_r101_fpn": 63.3, "mask_rcnn_r50_fpn_v2": 46.2},
    **{"mask_rcnn_x101_fpn": 102.1, "mask_rcnn_x101_fpn_updated": 102.1, "mask_rcnn_x101_fpn_scales": 102.1},
    **{"mask_rcnn_x152_fpn": 140.9, "mask_rcnn_x152_fpn_nl": 143.0},
    **{"mask_rcnn_r50_c4": 35.9, "mask_rcnn_r101_c4": 54.8, "mask_rcnn_r50_c5": 172.4},
    **{"keypoint_rcnn_r50_fpn": 59.1, "keypoint_rcnn_r50_fpn_pool": 59.1, "keypoint_rcnn_r50_fpn_updated": 59.1},
    **{"keypoint_rcnn_r101_fpn": 78.1, "keypoint_rcnn_x101_fpn": 116.9, "keypoint_mask_rcnn_r50_fpn": 61.8},
    **{"cityscapes_r50_fpn": 44.0, "cityscapes_r50_fpn_coco": 44.0},
    **{"digits_base": 3.9, "digits_base_again": 3.9, "digits_base_last": 3.9, "digits_demo": 3.9},
    "digits_full_size": 45.9,
    "finetune_cpu": 3.9,
}


def layer(inputs: int, outputs: int, cells: int = 1, norm: str = "none") -> int:
    """Weights and biases of a layer whose kernel has so many cells; a norm has two numbers a channel in their place."""
    return cells * inputs * outputs + outputs * (1 if norm == "none" else 2)


def body_parameters(spec: BackboneSpec) -> tuple[int, int]:
    """Weights of the convolutions up to res5, and channels that are normalised."""
    weights, normalised, inputs = 49 * 3 * spec.base_channels, spec.base_channels, spec.base_channels
    for index, blocks in enumerate(BLOCKS[spec.depth]):
        width = spec.base_channels * 2**index
        outputs = width if spec.depth in BASIC else 4 * width
        inner = width * spec.width_per_group // 64 * spec.groups
        for block in range(blocks):
            if spec.depth in BASIC:
                weights += 9 * inputs * width + 9 * width * width
                normalised += 2 * width
            else:
                weights += inputs * inner + 9 * inner * inner // spec.groups + inner * outputs
                normalised += 2 * inner + outputs
            if block == 0 and inputs != outputs:
                weights += inputs * outputs
                normalised += outputs
            inputs = outputs
    return weights, normalised


def trunk_parameters(spec: BackboneSpec) -> int:
    """The body with res5, its norms where they train, the non-local block, the pyramid."""
    weights, normalised = body_parameters(spec)
    res2 = spec.base_channels * (1 if spec.depth in BASIC else 4)
    count = weights + (0 if spec.norm == "frozen_batch" else 2 * normalised)
    if spec.non_local:
        res4 = 4 * res2
        count += 3 * layer(res4, res4 // 2) + layer(res4 // 2, res4)
    if spec.features == "fpn":
        c, norm = spec.fpn_channels, spec.fpn_norm
        count += sum(layer(res2 * 2**index, c, norm=norm) + layer(c, c, 9, norm) for index in range(4))
    return count


def parameters(spec: ModelSpec) -> int:
    """Of the whole network."""
    c, k, hidden, single = features(spec), len(spec.classes), spec.box_head.hidden, spec.backbone.features != "fpn"
    a = len(spec.anchors.aspect_ratios) * (len(spec.anchors.sizes_px) if single else 1)
    count = trunk_parameters(spec.backbone) + spec.rpn_head.num_convs * layer(c, c, 9) + layer(c, a) + layer(c, 4 * a)
    if spec.backbone.features == "c4":  # the heads begin with res5
        hidden = 2 * c
    else:
        count += box_layers(spec.box_head, c)
    count += layer(hidden, k + 1) + layer(hidden, 4 * k)
    if spec.mask_head is not None:
        inputs = 2 * c if spec.mask_head.kind == "res5" else c
        count += mask_parameters(spec.mask_head, inputs, k)
    if spec.keypoint_head is not None:
        head = spec.keypoint_head
        count += layer(c, head.channels, 9) + (head.num_convs - 1) * layer(head.channels, head.channels, 9)
        count += layer(head.channels, len(head.names), 16)
    return count


def box_layers(head: BoxHeadSpec, inputs: int) -> int:
    """Figure 4, right, and what convolutions stand before it."""
    count, hidden = 0, head.hidden
    for _ in range(head.num_convs):
        count += layer(inputs, head.conv_channels, 9, head.norm)
        inputs = head.conv_channels
    return count + layer(inputs, hidden, head.pooled_side**2) + (head.num_fcs - 1) * layer(hidden, hidden)


def features(spec: ModelSpec) -> int:
    """C, of every level that is read."""
    body = spec.backbone
    widest = body.base_channels * (1 if body.depth in BASIC else 4)
    return {"fpn": body.fpn_channels, "c4": 4 * widest, "c5": 8 * widest}[body.features]


def mask_parameters(head: MaskHeadSpec, inputs: int, num_classes: int) -> int:
    """Figure 4: four convolutions or res5, a deconvolution, a 1 x 1 convolution. No packaged recipe has another."""
    assert (head.kind in ("fcn", "res5"), head.class_agnostic, head.activation) == (True, False, "sigmoid")
    count = 0
    if head.kind == "fcn":
        width, norm = head.channels, head.norm
        count = layer(inputs, width, 9, norm) + (head.num_convs - 1) * layer(width, width, 9, norm)
        inputs = width
    return count + layer(inputs, head.channels, 4) + layer(head.channels, num_classes)


@pytest.mark.parametrize(
    ("weights", "spec"),
    [
        (classifiers.ResNet18_Weights, BackboneSpec(depth=18)),
        (classifiers.ResNet34_Weights, BackboneSpec(depth=34)),
        (classifiers.ResNet50_Weights, BackboneSpec(depth=50)),
        (classifiers.ResNet101_Weights, BackboneSpec(depth=101)),
        (classifiers.ResNet152_Weights, BackboneSpec(depth=152)),
        (classifiers.ResNeXt101_32X8D_Weights, BackboneSpec(depth=101, groups=32, width_per_group=8)),
        (classifiers.ResNeXt101_64X4D_Weights, BackboneSpec(depth=101, groups=64, width_per_group=4)),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value.depth),
)
def test_the_count_of_a_body_is_that_of_the_published_classifier(weights, spec):
    convolutions, normalised = body_parameters(spec)
    classifier = layer(512 if spec.depth in BASIC else 2048, 1000)
    assert convolutions + 2 * normalised + classifier == weights.IMAGENET1K_V1.meta["num_params"]


def test_the_count_of_a_detector_is_that_of_the_published():
    """Which gives boxes to the background too, and a mask."""
    ninety = tuple(f"class {index}" for index in range(90))
    deltas, mask = 4 * (1024 + 1), 256 + 1
    masks = detectors.MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["num_params"]
    assert (masks, parameters(ModelSpec(ninety))) == (44_401_393, masks - deltas - mask)
    # Their later one, whose body's norms train, and whose batch norms have as many numbers as group norms.
    later = load_recipe("mask_rcnn_r50_fpn_v2")(ninety).model
    later = dataclasses.replace(later, backbone=dataclasses.replace(later.backbone, norm="batch"))
    masks = detectors.MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1.meta["num_params"]
    assert (masks, parameters(later)) == (46_359_409, masks - deltas - mask)
    boxes = detectors.FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["num_params"]
    assert parameters(ModelSpec(ninety, mask_head=None)) == boxes - deltas
    keypoints = detectors.KeypointRCNN_ResNet50_FPN_Weights.COCO_V1.meta["num_params"]
    person = ModelSpec(("person",), mask_head=None, keypoint_head=KeypointHeadSpec(tuple("abcdefghijklmnopq")))
    assert parameters(person) == keypoints - deltas


def classes_of(name: str) -> tuple[str, ...]:
    """What the recipe is for."""
    known = {"mask": COCO, "cityscapes": CITYSCAPES, "digits": tuple("0123456789"), "ablation": tuple("0123456789")}
    return known.get(name.split("_")[0], ("person",))


@pytest.mark.parametrize("name", sorted(recipe_names()))
def test_a_recipe_has_the_parameters_of_the_text(name):
    spec = load_recipe(name)(classes_of(name)).model
    with torch.device("meta"):  # shapes without numbers
        model = MaskRCNN(spec)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == parameters(spec)
    if name in MILLIONS:
        assert round(count / 1e6, 1) == MILLIONS[name]


def test_the_papers_recipes_are_all_in_the_table():
    of_the_paper = {name for name in recipe_names() if name.split("_")[0] in ("mask", "keypoint", "cityscapes")}
    assert of_the_paper <= set(MILLIONS)
