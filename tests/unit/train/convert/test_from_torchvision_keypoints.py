"""torchvision's keypoint weights give torchvision's heatmaps, boxes, scores and, by its own decoding, its keypoints."""

import dataclasses

import pytest
import torch
from maskline_train.convert.from_torchvision import import_torchvision
from maskline_train.data.coco_person import FLIP_PAIRS, KEYPOINTS, SIGMAS
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.model.sampling import SamplingSpec
from maskline_train.recipes import load_recipe
from maskline_train.spec import KeypointHeadSpec, ModelSpec
from maskline_train.target import Target
from pycocotools.cocoeval import Params
from support.models.torchvision_models import (
    as_canvas,
    as_image_list,
    in_float64,
    random_images,
    randomise,
    their_detections,
)
from torchvision.models.detection import keypointrcnn_resnet50_fpn

NUM_PROPOSALS, NUM_DETECTIONS, NUM_TRAINED = 60, 10, 5  # fewer than 1000, 100 and 2000, for speed alone
EVERY_ONE = 10**6
SIZES = [(131, 203)]


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(0)
    model = keypointrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=2,
        rpn_post_nms_top_n_test=NUM_PROPOSALS,
        box_detections_per_img=NUM_DETECTIONS,
        rpn_pre_nms_top_n_train=NUM_TRAINED,
        rpn_post_nms_top_n_train=NUM_TRAINED,
        rpn_batch_size_per_image=EVERY_ONE,
        box_batch_size_per_image=EVERY_ONE,
    )
    randomise(model)
    return model.eval()


@pytest.fixture(scope="module")
def ours(theirs):
    model = import_torchvision(theirs.state_dict(), ("person",), norm_eps=1e-5)
    model.sampling = SamplingSpec(
        rpn_samples=EVERY_ONE, roi_samples=EVERY_ONE, pre_nms_per_level=NUM_TRAINED, max_proposals=NUM_TRAINED
    )
    model.spec = dataclasses.replace(
        model.spec,
        proposals=dataclasses.replace(model.spec.proposals, max_proposals=NUM_PROPOSALS),
        box_head=dataclasses.replace(model.spec.box_head, max_detections=NUM_DETECTIONS),
    )
    return model


def test_detections_heatmaps_and_keypoints_are_torchvisions(doubled):
    theirs, ours = doubled
    images = random_images(SIZES)
    seen = []
    handle = theirs.roi_heads.keypoint_predictor.register_forward_hook(lambda _m, _i, output: seen.append(output))
    expected = their_detections(theirs, in_float64(images))
    handle.remove()
    heatmaps = []
    handle = ours.keypoint_head.register_forward_hook(lambda _m, _i, output: heatmaps.append(output))
    found = ours.detect(*as_canvas(images))
    handle.remove()
    assert found.masks is None
    assert seen[0].shape[1:] == (17, 56, 56)
    # the boxes that are pooled are float32 in ours: 1e-5 px of a cell of 4 px, on logits of deviation 2
    torch.testing.assert_close(heatmaps[0], seen[0], rtol=1e-4, atol=1e-4)
    assert seen[0].std() > 0.5, "heatmaps that are the same everywhere prove nothing"
    for index, wanted in enumerate(expected):
        count = int(found.num_detections[index])
        assert count == len(wanted["scores"]) >= 10
        boxes = found.boxes[index, :count]
        # float32 boxes of up to 203 px: 8e-6 px a rounding, a few of them; both networks are float64
        assert torch.allclose(boxes.double(), wanted["boxes"], rtol=2e-6, atol=1e-4)
        assert torch.allclose(found.scores[index, :count].double(), wanted["scores"], rtol=0, atol=1e-4)
        # Two tops of a heatmap that are equal but for rounding may change places.
        points = found.keypoints[index, :count]
        same = (points[..., :2] - wanted["keypoints"][..., :2]).abs().amax(dim=2) < 1e-3
        assert same.float().mean() > 0.99
        assert torch.allclose(points[..., 2], wanted["keypoints_scores"].float(), rtol=1e-4, atol=1e-3)


def test_the_loss_and_its_gradients_are_torchvisions(doubled, margins):
    """In float64: a ReLU whose input rounds to the other side of zero moves float32 gradients by 1e-3."""
    theirs, ours = doubled
    images = random_images([(96, 128), (96, 96)])
    canvas, image_info = as_canvas(images)
    boxes = torch.tensor([[8.0, 10.0, 60.0, 70.0], [40.0, 30.0, 120.0, 90.0]])
    generator = torch.Generator().manual_seed(1)
    keypoints = boxes[:, None, :2] + torch.rand(2, 17, 2, generator=generator) * (
        boxes[:, None, 2:] - boxes[:, None, :2]
    )
    visible = torch.randint(0, 3, (2, 17, 1), generator=generator)
    keypoints = torch.cat([keypoints, visible], dim=2)
    masks = torch.zeros(2, *canvas.shape[1:3], dtype=torch.uint8)
    targets = [
        Target(boxes, torch.zeros(2, dtype=torch.int64), masks, keypoints),
        Target(boxes[:1], torch.zeros(1, dtype=torch.int64), masks[:1], keypoints[:1]),
    ]
    batch = as_image_list(theirs, images)
    features = theirs.backbone(batch.tensors.double())
    theirs.rpn.train()
    theirs.roi_heads.train()
    try:
        dicts = [{"boxes": t.boxes.double(), "labels": t.labels + 1, "keypoints": t.keypoints} for t in targets]
        proposals, rpn = theirs.rpn(batch, features, dicts)
        _, heads = theirs.roi_heads(features, proposals, batch.image_sizes, dicts)
    finally:
        theirs.eval()
    found = ours(canvas, image_info, targets)
    expected = {
        "rpn_objectness": rpn["loss_objectness"],
        "rpn_box": rpn["loss_rpn_box_reg"],
        "classifier": heads["loss_classifier"],
        "box": heads["loss_box_reg"],
        "keypoint": heads["loss_keypoint"],
    }
    assert list(found) == list(expected)
    # Our losses, boxes and targets are float32 in a network of any type: that leaves a few roundings of 2**-24.
    few_roundings = 16 * 2.0**-24
    for name, loss in expected.items():
        assert found[name].item() == pytest.approx(loss.item(), rel=few_roundings), name
    expected["keypoint"].backward()
    found["keypoint"].backward()
    pairs = {
        "backbone.body.layer4.2.conv3.weight": ours.backbone.body.layer4[2].conv3.weight,
        "roi_heads.keypoint_head.0.weight": ours.keypoint_head.convs[0].weight,
        "roi_heads.keypoint_head.14.bias": ours.keypoint_head.convs[7].bias,
        "roi_heads.keypoint_predictor.kps_score_lowres.weight": ours.keypoint_head.keypoint_logits.weight,
    }
    for name, weight in pairs.items():
        gradient = theirs.get_parameter(name).grad
        error = (weight.grad - gradient).norm() / gradient.norm()
        margins.below(f"relative error of the gradient of {name}", error.item(), few_roundings)


def test_the_published_model_has_as_many_parameters():
    """torchvision's KeypointRCNN_ResNet50_FPN_Weights.COCO_V1.meta["num_params"], but for the background's deltas."""
    spec = ModelSpec(("person",), mask_head=None, keypoint_head=KeypointHeadSpec(KEYPOINTS))
    with torch.device("meta"):
        model = MaskRCNN(spec)
    assert sum(parameter.numel() for parameter in model.parameters()) == 59_137_258 - 4 * (1024 + 1)


def test_cocos_person_is_pycocotools_and_torchvisions():
    assert pytest.approx(Params(iouType="keypoints").kpt_oks_sigmas) == SIGMAS
    assert len(KEYPOINTS) == 17
    assert len(FLIP_PAIRS) == 8
    assert KeypointHeadSpec(KEYPOINTS, FLIP_PAIRS).flip_order == (
        0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "steps", "milestones", "depth"),
    [
        ("keypoint_rcnn_r50_fpn", 90_000, (60_000, 80_000), 50),
        ("keypoint_mask_rcnn_r50_fpn", 90_000, (60_000, 80_000), 50),
        ("keypoint_rcnn_r50_fpn_pool", 90_000, (60_000, 80_000), 50),
        ("keypoint_rcnn_r50_fpn_updated", 130_000, (100_000, 120_000), 50),
        ("keypoint_rcnn_r101_fpn", 130_000, (100_000, 120_000), 101),
        ("keypoint_rcnn_x101_fpn", 130_000, (100_000, 120_000), 101),
    ],
)
def test_the_papers_keypoint_recipes_say_what_the_paper_says(name, steps, milestones, depth):
    """Section 5 and the appendix, ledger rows P59 to P66."""
    recipe = load_recipe(name)(("person",))
    head, training = recipe.model.keypoint_head, recipe.training
    assert (head.num_convs, head.channels, head.heatmap_side, head.names) == (8, 512, 56, KEYPOINTS)
    assert recipe.augmentation.shorter_side_px == (640, 800)
    assert recipe.model.preprocessing.shorter_side_px == 800
    assert recipe.model.box_head.nms_thresh == 0.5
    assert (training.steps, training.decay.milestones, training.decay.factor) == (steps, milestones, 0.1)
    assert training.peak_lr == pytest.approx(0.01 if "x101" in name else 0.02)
    assert recipe.model.backbone.depth == depth
    assert recipe.model.backbone.groups == (64 if "x101" in name else 1)
    assert (recipe.model.mask_head is not None) == ("mask" in name)
    assert recipe.model.roi_align.mode == ("pool" if "pool" in name else "align_avg")
