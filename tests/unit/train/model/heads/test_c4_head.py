"""The C4 heads: the stage that the two branches share, and the box branch on it."""

import dataclasses

import pytest
import torch
import torchvision
from maskline_train.model.heads.c4_head import C4BoxHead, Res5Stage
from maskline_train.spec import BackboneSpec

C4 = BackboneSpec(features="c4", frozen_stages=0)
SLIM = dataclasses.replace(C4, base_channels=4)


def test_the_stage_is_torchvisions_layer4():
    torch.manual_seed(0)
    theirs = torchvision.models.resnet50(weights=None).layer4.eval()
    stage = Res5Stage(dataclasses.replace(C4, norm="batch")).eval()
    stage.layer4.load_state_dict(theirs.state_dict())
    roi_features = torch.randn(2, 1024, 14, 14)
    with torch.no_grad():
        found = stage(roi_features)
        assert found.shape == (2, 2048, 7, 7)  # figure 4, left
        assert torch.equal(found, theirs(roi_features))


@pytest.mark.parametrize(("norm", "frozen"), [("batch", 4), ("batch", 5), ("frozen_batch", 4), ("group", 5)])
def test_the_stage_freezes_as_the_fifth(norm, frozen):
    stage = Res5Stage(dataclasses.replace(SLIM, norm=norm, frozen_stages=frozen)).train()
    assert stage.training == stage.layer4.training == (frozen < 5)
    assert all(parameter.requires_grad == (frozen < 5) for parameter in stage.parameters())


@pytest.mark.parametrize("norm", ["batch", "frozen_batch", "group"])
def test_no_rois_are_answered_and_leave_the_statistics_alone(norm):
    stage = Res5Stage(dataclasses.replace(SLIM, norm=norm)).train()
    before = {name: tensor.clone() for name, tensor in stage.named_buffers() if "running" in name}
    out = stage(torch.zeros(0, 64, 14, 14))
    assert out.shape == (0, 128, 7, 7)
    out.sum().backward()
    for name, tensor in stage.named_buffers():
        if "running" in name:
            assert torch.equal(tensor, before[name]), name


def test_the_box_branch_sees_the_mean_of_each_channel():
    torch.manual_seed(0)
    head = C4BoxHead(6, 3)
    roi_features = torch.randn(5, 6, 7, 7)
    class_logits, box_deltas = head(roi_features)
    assert (class_logits.shape, box_deltas.shape) == ((5, 4), (5, 12))
    mean = roi_features.sum(dim=(2, 3)) / 49
    assert torch.allclose(class_logits, mean @ head.class_logits.weight.T, atol=1e-6)  # float32; biases start at zero
    assert torch.allclose(box_deltas, mean @ head.box_deltas.weight.T, atol=1e-6)
    shuffled = roi_features.flatten(2)[:, :, torch.randperm(49)].unflatten(2, (7, 7))
    assert torch.allclose(head(shuffled)[0], class_logits, atol=1e-6)
    assert head(torch.zeros(0, 6, 7, 7))[0].shape == (0, 4)
