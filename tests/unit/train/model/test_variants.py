"""The whole network in every variant of the paper: one field of the spec at a time."""

import dataclasses

import pytest
import torch
from maskline_train.checkpoint import load_model, save_model
from maskline_train.evaluation.evaluate import to_results
from maskline_train.model.boxes import iou_matrix
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.model.sampling import SamplingSpec
from maskline_train.spec import (
    BackboneSpec,
    BoxHeadSpec,
    MaskHeadSpec,
    ModelSpec,
    ProposalSpec,
)
from support.models.tiny import tiny_model
from support.models.training_variants import INFO, VARIANTS, batch, small_model


@pytest.mark.parametrize("name", VARIANTS)
def test_losses_are_finite_and_reach_every_weight(name):
    spec = VARIANTS[name]
    model = small_model(spec).train()
    losses = model(*batch())
    expected = ["rpn_objectness", "rpn_box", "classifier", "box", "mask"][: 4 if spec.mask_head is None else 5]
    assert list(losses) == expected
    for key, loss in losses.items():
        assert torch.isfinite(loss), key
        assert loss > 0, key
    sum(losses.values()).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
    # the output layer of the mask branch learns from this batch; so does the first layer of the body
    assert model.backbone.body.conv1.weight.grad.abs().sum() > 0
    if spec.mask_head is not None:
        assert model.mask_head.mask_logits.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", VARIANTS)
def test_a_batch_without_objects_trains_too(name):
    model = small_model(VARIANTS[name]).train()
    canvas, image_info, targets = batch()
    losses = model(canvas, image_info, [targets[1], targets[1]])
    assert losses["classifier"] > 0
    assert losses.get("mask", torch.zeros(())).item() == 0
    sum(losses.values()).backward()
    for key, parameter in model.named_parameters():  # DistributedDataParallel waits for each
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
    for key, buffer in model.named_buffers():
        assert torch.isfinite(buffer).all(), key


@pytest.mark.parametrize("name", VARIANTS)
def test_a_saved_variant_detects_the_same(name, tmp_path):
    spec = VARIANTS[name]
    model = tiny_model(spec)
    canvas, image_info, _ = batch()
    expected = model.detect(canvas, image_info)
    save_model(tmp_path, model)
    loaded = load_model(tmp_path)
    assert loaded.spec == spec
    found = loaded.detect(canvas, image_info)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs) if ours is not None else theirs is None
    assert found.num_detections.min() > 0
    real = found.labels >= 0
    assert torch.equal(real.sum(dim=1), found.num_detections)
    if spec.mask_head is None:
        assert found.masks is None
    else:
        side = spec.mask_head.mask_side
        assert found.masks.shape == (2, 100, side, side)
        assert 0 <= found.masks.min() <= found.masks.max() <= 1
        assert found.masks[real].std() > 0
        assert found.masks[~real].eq(0).all()


def test_features_have_the_levels_and_channels_of_the_spec():
    canvas, image_info, _ = batch()
    for name, spec in VARIANTS.items():
        model = tiny_model(spec)
        features = model.backbone(canvas, image_info)
        levels = spec.backbone.rpn_levels
        expected = [(2, spec.backbone.feature_channels, -(-96 // 2**i), -(-128 // 2**i)) for i in levels]
        assert [tuple(feature.shape) for feature in features] == expected, name
        logits, deltas = model.rpn_head(features)
        anchors = spec.anchors.per_cell(len(levels))
        assert {level.shape[1] for level in logits} == {anchors}
        assert {level.shape[1] for level in deltas} == {4 * anchors}


@pytest.mark.parametrize("loss", ["classifier", "mask"])
def test_both_branches_of_the_c4_heads_train_the_one_stage(loss):
    model = small_model(VARIANTS["C4"]).train()
    model(*batch())[loss].backward()
    assert model.res5.layer4[0].conv1.weight.grad.abs().sum() > 0
    assert sum(name.startswith("res5.") for name in model.state_dict()) == len(model.res5.state_dict())


def test_the_papers_c4_heads_see_what_figure_4_draws():
    spec = ModelSpec(
        tuple(f"class {i}" for i in range(80)),
        backbone=BackboneSpec(features="c4"),
        box_head=BoxHeadSpec(pooled_side=14),
        mask_head=MaskHeadSpec(kind="res5"),
    )
    with torch.device("meta"):  # shapes without numbers
        model = MaskRCNN(spec)
        roi_features = torch.zeros(2, 1024, 14, 14)
        assert model.res5(roi_features).shape == (2, 2048, 7, 7)
        class_logits, box_deltas = model.box_outputs(roi_features)
        assert model.mask_outputs(roi_features).shape == (2, 80, 14, 14)
    assert (class_logits.shape, box_deltas.shape) == ((2, 81), (2, 320))
    assert model.rpn_head.logits.weight.shape == (15, 1024, 1, 1)  # 5 scales x 3 ratios on the one level


def test_leaving_the_masks_out_changes_nothing_else():
    model = tiny_model()
    canvas, image_info, _ = batch()
    both, boxes_alone = model.detect(canvas, image_info), model.detect(canvas, image_info, masks=False)
    assert boxes_alone.masks is None
    assert all(torch.equal(a, b) for a, b in zip(both[:4], boxes_alone[:4], strict=True))
    (results, _) = to_results(boxes_alone, INFO.numpy(), [1, 2], [1, 2, 3], "aligned")
    assert results
    assert all("segmentation" not in result for result in results)


@pytest.mark.parametrize("name", ["C4", "competing classes"])
def test_counts_and_thresholds_of_inference_are_those_of_the_spec(name):
    canvas, image_info, _ = batch()
    for max_proposals, thresh, max_detections in ((9, 0.3, 5), (30, 0.5, 17)):
        spec = VARIANTS[name]
        spec = dataclasses.replace(
            spec,
            proposals=ProposalSpec(pre_nms_per_level=40, max_proposals=max_proposals, nms_thresh=0.6),
            box_head=dataclasses.replace(
                spec.box_head, nms_thresh=thresh, max_detections=max_detections, score_thresh=0.01
            ),
        )
        model = tiny_model(spec)
        logits, deltas = model.rpn_head(model.backbone(canvas, image_info))
        proposals, num = model.propose(logits, deltas, image_info)
        assert proposals.shape == (2, max_proposals, 4)
        for image in range(2):
            real = proposals[image, : num[image]]
            if len(spec.backbone.rpn_levels) == 1:  # proposals of several levels may overlap each other
                assert iou_matrix(real, real).fill_diagonal_(0).max() <= 0.6 + 1e-6  # one rounding
        found = model.detect(canvas, image_info)
        assert found.boxes.shape == (2, max_detections, 4)
        for boxes, labels, count in zip(found.boxes, found.labels, found.num_detections.tolist(), strict=True):
            assert count > 1
            overlap = iou_matrix(boxes[:count], boxes[:count]).fill_diagonal_(0)
            same = labels[:count, None] == labels[None, :count]
            assert overlap[same].max() <= thresh + 1e-6


def test_a_batch_whose_proposals_are_all_below_the_score_cut_trains_on_its_objects():
    spec = dataclasses.replace(VARIANTS["boxes alone"], proposals=ProposalSpec(score_thresh=1.0))
    model = small_model(spec).train()
    losses = model(*batch())
    sum(losses.values()).backward()
    assert losses["classifier"] > 0  # of the one object: the ground truth is a candidate too
    canvas, image_info, targets = batch()
    losses = model(canvas, image_info, [targets[1], targets[1]])
    assert losses["classifier"] == 0
    assert torch.isfinite(sum(losses.values()))
    assert model.eval().detect(canvas, image_info).num_detections.tolist() == [0, 0]


def test_training_counts_are_those_of_the_sampling():
    # paper 3.1: 64 RoIs an image for C4, 512 for FPN
    model = MaskRCNN(VARIANTS["C4"], SamplingSpec(roi_samples=8, max_proposals=20, pre_nms_per_level=20)).train()
    seen = []
    model.res5.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    model(*batch())
    assert seen[0] == 16  # two images
    assert 1 <= seen[1] <= 4  # a quarter are positive, of one image
