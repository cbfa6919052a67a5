"""The proof that ours is the real model: torchvision's weights give torchvision's answers."""

import dataclasses

import pytest
import torch
from maskline_train.convert.from_torchvision import BUILT_NORM_EPS, PUBLISHED_NORM_EPS, import_torchvision
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.model.sampling import SamplingSpec
from maskline_train.spec import ModelSpec
from maskline_train.target import Target
from support.models.torchvision_models import (
    as_canvas,
    as_image_list,
    in_float64,
    random_images,
    randomise,
    their_detections,
)
from torchvision.models.detection import fasterrcnn_resnet50_fpn, maskrcnn_resnet50_fpn

NUM_CLASSES = 7
CLASSES = tuple(f"class {i}" for i in range(NUM_CLASSES))
NUM_PROPOSALS, NUM_DETECTIONS = 100, 40  # fewer than 1000 and 100, for speed alone
EVERY_ONE = 10**6  # samples: more than there are anchors, so that nothing is left to chance

BATCHES = [
    pytest.param([(128, 192)], "landscape", marks=pytest.mark.long),
    pytest.param([(192, 128)], "portrait", marks=pytest.mark.long),
    pytest.param([(96, 96)], "square", marks=pytest.mark.long),
    pytest.param([(131, 203)], "not a multiple of 32: padded", marks=pytest.mark.long),
    ([(96, 128), (75, 110)], "two sizes in one batch, the second padded"),
]


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(0)
    model = maskrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=NUM_CLASSES + 1,
        rpn_post_nms_top_n_test=NUM_PROPOSALS,
        box_detections_per_img=NUM_DETECTIONS,
        rpn_pre_nms_top_n_train=NUM_PROPOSALS,
        rpn_post_nms_top_n_train=NUM_PROPOSALS,
        rpn_batch_size_per_image=EVERY_ONE,
        box_batch_size_per_image=EVERY_ONE,
    )
    randomise(model)
    return model.eval()


@pytest.fixture(scope="module")
def ours(theirs):
    model = import_torchvision(theirs.state_dict(), CLASSES, norm_eps=BUILT_NORM_EPS)
    model.sampling = SamplingSpec(
        rpn_samples=EVERY_ONE, roi_samples=EVERY_ONE, pre_nms_per_level=NUM_PROPOSALS, max_proposals=NUM_PROPOSALS
    )
    model.spec = dataclasses.replace(
        model.spec,
        proposals=dataclasses.replace(model.spec.proposals, max_proposals=NUM_PROPOSALS),
        box_head=dataclasses.replace(model.spec.box_head, max_detections=NUM_DETECTIONS),
    )
    return model


@pytest.mark.parametrize(("sizes", "why"), BATCHES)
def test_detections_are_torchvisions(doubled, sizes, why):
    theirs, ours = doubled
    images = random_images(sizes)
    expected = their_detections(theirs, in_float64(images))
    found = ours.detect(*as_canvas(images))
    for index, wanted in enumerate(expected):
        count = int(found.num_detections[index])
        assert count == len(wanted["scores"]), why
        assert count >= 10, "too few detections to prove anything"
        assert len(wanted["labels"].unique()) >= 3
        assert wanted["scores"][:3].min() > 0.5
        assert torch.equal(found.labels[index, :count] + 1, wanted["labels"])
        # Both networks are float64; ours keeps boxes in float32, where a coordinate of 200 px steps by 1.5e-5.
        assert torch.allclose(found.boxes[index, :count].double(), wanted["boxes"], rtol=2e-6, atol=1e-4)
        assert torch.allclose(found.scores[index, :count].double(), wanted["scores"], rtol=0, atol=1e-4)
        assert torch.allclose(found.masks[index, :count].double(), wanted["masks"][:, 0], rtol=0, atol=1e-4)
        assert found.labels[index, count:].eq(-1).all()
        assert wanted["masks"].std() > 0.1, "masks that are the same everywhere prove nothing"


def their_losses(model, images, targets):
    batch = as_image_list(model, images)
    features = model.backbone(batch.tensors.double())
    model.rpn.train()
    model.roi_heads.train()
    try:
        dicts = [{"boxes": t.boxes.double(), "labels": t.labels + 1, "masks": t.masks} for t in targets]
        proposals, rpn = model.rpn(batch, features, dicts)
        _, heads = model.roi_heads(features, proposals, batch.image_sizes, dicts)
    finally:
        model.eval()
    return {
        "rpn_objectness": rpn["loss_objectness"],
        "rpn_box": rpn["loss_rpn_box_reg"],
        "classifier": heads["loss_classifier"],
        "box": heads["loss_box_reg"],
        "mask": heads["loss_mask"],
    }


def ellipses(boxes, size):
    """Masks [G, H, W] of the ellipses inscribed in boxes."""
    y, x = torch.meshgrid(torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5, indexing="ij")
    x0, y0, x1, y1 = boxes[:, :, None, None].unbind(dim=1)
    return (((x - (x0 + x1) / 2) / (x1 - x0)) ** 2 + ((y - (y0 + y1) / 2) / (y1 - y0)) ** 2 <= 0.25).to(torch.uint8)


def test_losses_and_gradients_are_torchvisions(doubled, margins):
    """In float64: a ReLU whose input rounds to the other side of zero moves float32 gradients by 1e-3."""
    theirs, ours = doubled
    images = random_images([(96, 128), (96, 96)])
    canvas, image_info = as_canvas(images)
    boxes = torch.tensor([[8.0, 10.0, 60.0, 70.0], [40.0, 30.0, 120.0, 90.0], [100.5, 5.25, 120.0, 20.0]])
    targets = [
        Target(boxes, torch.tensor([0, 3, 6]), ellipses(boxes, canvas.shape[1:3])),
        Target(boxes[:1], torch.tensor([2]), ellipses(boxes[:1], canvas.shape[1:3])),
    ]
    expected = their_losses(theirs, images, targets)
    found = ours(canvas, image_info, targets)
    assert list(found) == list(expected)
    # Our losses, boxes and targets are float32 in a network of any type: that leaves a few roundings of 2**-24.
    few_roundings = 16 * 2.0**-24
    for name, value in expected.items():
        assert value > 1e-3, "a loss of nothing proves nothing"
        assert found[name].item() == pytest.approx(value.item(), rel=few_roundings), name
    sum(expected.values()).backward()
    sum(found.values()).backward()
    pairs = {
        "backbone.body.layer2.0.conv1.weight": ours.backbone.body.layer2[0].conv1.weight,
        "backbone.body.layer4.2.conv3.weight": ours.backbone.body.layer4[2].conv3.weight,
        "backbone.fpn.inner_blocks.0.0.weight": ours.backbone.fpn.lateral[0].weight,
        "rpn.head.bbox_pred.weight": ours.rpn_head.deltas.weight,
        "roi_heads.box_head.fc6.weight": ours.box_head.fc1.weight,
        "roi_heads.mask_head.0.0.weight": ours.mask_head.convs[0].weight,
    }
    for name, weight in pairs.items():
        gradient = theirs.get_parameter(name).grad
        error = (weight.grad - gradient).norm() / gradient.norm()
        margins.below(f"relative error of the gradient of {name}", error.item(), few_roundings)
    assert ours.backbone.body.layer1[0].conv1.weight.grad is None


@pytest.fixture(scope="module")
def their_boxes_alone(theirs):
    """torchvision's Faster R-CNN with the same weights."""
    model = fasterrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=NUM_CLASSES + 1,
        rpn_post_nms_top_n_test=NUM_PROPOSALS,
        box_detections_per_img=NUM_DETECTIONS,
    )
    names = model.state_dict().keys()
    model.load_state_dict({name: tensor for name, tensor in theirs.state_dict().items() if name in names})
    return model.double().eval()


@pytest.mark.long  # what a model without masks lacks of the one above
def test_a_faster_rcnn_is_imported_too(their_boxes_alone, doubled):
    _, ours = doubled
    model = import_torchvision(their_boxes_alone.state_dict(), CLASSES, norm_eps=1e-5).double()
    assert model.spec.mask_head is None
    model.spec = dataclasses.replace(ours.spec, mask_head=None)
    images = random_images([(131, 203), (96, 96)])
    expected = their_detections(their_boxes_alone, in_float64(images))
    canvas, image_info = as_canvas(images)
    found = model.detect(canvas, image_info)
    assert found.masks is None
    for index, wanted in enumerate(expected):
        count = int(found.num_detections[index])
        assert count == len(wanted["scores"]) >= 10
        assert torch.equal(found.labels[index, :count] + 1, wanted["labels"])
        # as for the masks' model
        assert torch.allclose(found.boxes[index, :count].double(), wanted["boxes"], rtol=2e-6, atol=1e-4)
        assert torch.allclose(found.scores[index, :count].double(), wanted["scores"], rtol=0, atol=1e-4)
    # leaving the masks out of a model that has them is the same again. Ref: ledger P50
    without = ours.detect(canvas, image_info, masks=False)
    assert without.masks is None
    for name in ("boxes", "scores", "labels", "num_detections"):
        assert torch.equal(getattr(without, name), getattr(found, name)), name


NINETY = tuple(f"class {i}" for i in range(90))
# Rows of the background that torchvision's last layers have and ours have not: box deltas, and the mask.
DELTA_ROWS, MASK_ROW = 4 * (1024 + 1), 256 + 1


@pytest.mark.parametrize(
    ("spec", "published"),
    [
        # torchvision's MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["num_params"] and the same of Faster R-CNN
        (ModelSpec(NINETY), 44_401_393 - DELTA_ROWS - MASK_ROW),
        (ModelSpec(NINETY, mask_head=None), 41_755_286 - DELTA_ROWS),
    ],
)
def test_a_91_class_model_has_the_published_number_of_parameters(spec, published):
    with torch.device("meta"):  # shapes without numbers
        model = MaskRCNN(spec)
    assert sum(parameter.numel() for parameter in model.parameters()) == published


def test_published_norms_add_nothing_to_the_variance(theirs):
    state = theirs.state_dict()
    body = import_torchvision(state, CLASSES, PUBLISHED_NORM_EPS).backbone.body
    x = torch.rand(1, 64, 4, 4)
    norm = theirs.backbone.body.layer1[0].bn1
    expected = (x - norm.running_mean[:, None, None]) * (norm.weight / norm.running_var.sqrt())[:, None, None]
    expected += norm.bias[:, None, None]
    identity = torch.nn.Conv2d(64, 64, 1, bias=False)
    identity.weight.data = torch.eye(64)[:, :, None, None]
    assert torch.allclose(body.layer1[0].bn1.after(identity, x), expected, atol=1e-5)  # float32
    other = import_torchvision(state, CLASSES, norm_eps=0.1).backbone.body.layer1[0].bn1.after(identity, x)
    assert not torch.allclose(other, expected, atol=1e-3)


def test_where_weights_are_from_has_to_be_said(theirs):
    """Either value is silently wrong for the other kind: features of a built model were off by 240 % with 0."""
    with pytest.raises(TypeError, match="norm_eps"):
        import_torchvision(theirs.state_dict(), CLASSES)
    assert theirs.backbone.body.layer1[0].bn1.eps == BUILT_NORM_EPS


def test_the_older_layout_of_the_published_file_is_read(theirs, ours):
    old = {}
    for name, tensor in theirs.state_dict().items():
        name = name.replace("rpn.head.conv.0.0", "rpn.head.conv")
        for index in range(4):
            name = name.replace(f"_blocks.{index}.0.", f"_blocks.{index}.")
            name = name.replace(f"mask_head.{index}.0.", f"mask_head.mask_fcn{index + 1}.")
        old[name] = tensor
    assert old.keys() != theirs.state_dict().keys()
    imported = import_torchvision(old, CLASSES, norm_eps=1e-5).state_dict()
    for name, tensor in ours.state_dict().items():
        assert torch.equal(imported[name], tensor), name


@pytest.mark.parametrize(
    ("change", "classes", "message"),
    [
        (
            lambda state: state.pop("rpn.head.cls_logits.bias"),
            CLASSES,
            r"1 weights are missing, first 'rpn_head.logits.bias'",
        ),
        (lambda state: state.update(foo=torch.zeros(1)), CLASSES, r"weight 'foo': not part of maskrcnn_resnet50_fpn"),
        (lambda state: None, CLASSES[:-1], r"got 7 foreground classes, expected the 6 named"),
        (
            lambda state: state.update({"rpn.head.cls_logits.bias": torch.zeros(5)}),
            CLASSES,
            r"weight 'rpn_head.logits.bias': got shape \[5\], expected \[3\]",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(theirs, change, classes, message):
    state = theirs.state_dict()
    change(state)
    with pytest.raises(ValueError, match=message):
        import_torchvision(state, classes, BUILT_NORM_EPS)
