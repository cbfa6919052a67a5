"""The ResNet and ResNeXt bodies against torchvision's, and its conventions."""

import dataclasses

import pytest
import torch
import torchvision
from maskline_train.model.backbone.norms import FoldedNorm, FrozenBatchNorm, GroupNorm
from maskline_train.model.backbone.resnet import ResNet, fold_norms
from maskline_train.model.heads.c4_head import Res5Stage
from maskline_train.spec import BackboneSpec

SLIM = BackboneSpec(depth=18, base_channels=4, frozen_stages=0)


@torch.no_grad()
def randomise_norms(model):
    for module in model.modules():
        if hasattr(module, "running_var"):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 2.0)
            module.weight.uniform_(0.3, 0.9)
            module.bias.uniform_(-0.3, 0.3)


def their_features(model, x):
    x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
    features = []
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
        x = stage(x)
        features.append(x)
    return features


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("resnet18", BackboneSpec(depth=18)),
        ("resnet18", BackboneSpec(depth=18, norm="batch")),
        ("resnet34", BackboneSpec(depth=34)),
        ("resnet50", BackboneSpec(depth=50)),
        ("resnet101", BackboneSpec(depth=101)),
        ("resnext50_32x4d", BackboneSpec(depth=50, groups=32, width_per_group=4)),
        ("resnext50_32x4d", BackboneSpec(depth=50, groups=32, width_per_group=4, norm="sync_batch")),
    ],
)
def test_outputs_are_torchvisions(name, spec):
    torch.manual_seed(0)
    norm = spec.norm
    theirs = getattr(torchvision.models, name)(weights=None).eval()
    randomise_norms(theirs)
    ours = ResNet(spec).eval()
    state = {name: t for name, t in theirs.state_dict().items() if not name.startswith("fc.")}
    if norm == "frozen_batch":
        state = {name: t for name, t in state.items() if not name.endswith("num_batches_tracked")}
    ours.load_state_dict(state)  # strict: the names are torchvision's
    x = torch.randn(1, 3, 64, 32)
    with torch.no_grad():
        pairs = list(zip(ours(x), their_features(theirs, x), strict=True))
    for found, expected in pairs:
        # folding multiplies weights instead of outputs: float32 rounding through up to 101 layers
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    assert tuple(found.shape[1] for found, _ in pairs) == ours.out_channels


@pytest.mark.parametrize(
    ("name", "depth", "groups", "width_per_group", "millions"),
    [
        ("resnet34", 34, 1, 64, 21.3),
        ("resnet50", 50, 1, 64, 23.5),
        ("resnet101", 101, 1, 64, 42.5),
        ("resnet152", 152, 1, 64, 58.1),
        ("resnext50_32x4d", 50, 32, 4, 23.0),
        ("resnext101_32x8d", 101, 32, 8, 86.7),
        ("resnext101_64x4d", 101, 64, 4, 81.4),
    ],
)
def test_published_bodies_have_their_number_of_parameters_and_their_names(
    name, depth, groups, width_per_group, millions
):
    spec = BackboneSpec(depth=depth, norm="batch", frozen_stages=0, groups=groups, width_per_group=width_per_group)
    with torch.device("meta"):  # shapes without numbers
        theirs, ours = getattr(torchvision.models, name)(weights=None), ResNet(spec)
    expected = {key: tensor.shape for key, tensor in theirs.state_dict().items() if not key.startswith("fc.")}
    assert {key: tensor.shape for key, tensor in ours.state_dict().items()} == expected
    count = sum(parameter.numel() for parameter in ours.parameters())
    assert count == sum(p.numel() for p in theirs.parameters()) - sum(p.numel() for p in theirs.fc.parameters())
    assert round(count / 1e6, 1) == millions


def test_the_c4_body_ends_with_the_fourth_stage():
    spec = dataclasses.replace(SLIM, features="c4", frozen_stages=5)
    body = ResNet(spec)
    assert not any(name.startswith("layer4") for name in body.state_dict())
    features = body(torch.zeros(1, 3, 64, 32))
    assert [tuple(feature.shape) for feature in features] == [(1, 4, 16, 8), (1, 8, 8, 4), (1, 16, 4, 2)]
    assert not any(parameter.requires_grad for parameter in body.parameters())


@pytest.mark.parametrize("norm", ["frozen_batch", "batch"])
@pytest.mark.parametrize("stride_in_1x1", [False, True])
def test_a_dilated_stage_is_torchvisions_but_for_its_first_block(norm, stride_in_1x1):
    # without a stride it makes no difference where the other stages have theirs, but these have to be torchvision's
    torch.manual_seed(0)
    theirs = torchvision.models.resnet50(weights=None, replace_stride_with_dilation=[False, False, True]).eval()
    theirs.layer4[0].conv2.dilation = theirs.layer4[0].conv2.padding = (2, 2)  # detectron2's: all blocks
    randomise_norms(theirs)
    ours = ResNet(BackboneSpec(features="dc5", norm=norm, stride_in_1x1=stride_in_1x1)).eval()
    with torch.no_grad():
        state = {name: t for name, t in theirs.state_dict().items() if not name.startswith("fc.")}
        if norm == "frozen_batch":
            state = {name: t for name, t in state.items() if not name.endswith("num_batches_tracked")}
        ours.load_state_dict(state)  # strict: a dilation changes no name and no shape
        x = torch.randn(2, 1024, 8, 6)
        found, expected = ours.layer4(x), theirs.layer4(x)
        whole = ours(torch.randn(1, 3, 128, 96))
    assert found.shape == (2, 2048, 8, 6)
    # folding multiplies weights instead of outputs: float32 rounding through nine layers
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    assert [tuple(level.shape[2:]) for level in whole] == [(32, 24), (16, 12), (8, 6), (8, 6)]


def test_basic_blocks_are_dilated_too():
    stage = ResNet(dataclasses.replace(SLIM, features="dc5")).layer4
    convs = [module for module in stage.modules() if getattr(module, "kernel_size", None) == (3, 3)]
    assert len(convs) == 4
    assert {(conv.dilation, conv.padding, conv.stride) for conv in convs} == {((2, 2), (2, 2), (1, 1))}


def test_training_gradients_are_those_of_separate_norms():
    torch.manual_seed(0)
    body = ResNet(SLIM).double()
    randomise_norms(body)
    x = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    body(x)[-1].square().sum().backward()
    found = {name: parameter.grad.clone() for name, parameter in body.named_parameters()}
    body.zero_grad()

    def apart(self, conv, x):
        shape = (1, -1, 1, 1)
        centred = (conv(x) - self.running_mean.reshape(shape)) / (self.running_var + 1e-5).sqrt().reshape(shape)
        return centred * self.weight.reshape(shape) + self.bias.reshape(shape)

    for module in body.modules():
        if isinstance(module, FrozenBatchNorm):
            module.after = apart.__get__(module)
    body(x)[-1].square().sum().backward()
    for name, parameter in body.named_parameters():
        assert torch.allclose(found[name], parameter.grad, rtol=1e-9), name  # float64


@pytest.mark.parametrize("frozen", range(6))
def test_frozen_stages_take_no_gradient_and_the_others_do(frozen):
    body = ResNet(dataclasses.replace(SLIM, norm="batch", frozen_stages=frozen)).train()
    before = {name: tensor.clone() for name, tensor in body.state_dict().items()}
    out = sum(feature.sum() for feature in body(torch.randn(2, 3, 64, 64)))
    if frozen < 5:
        out.backward()
    stages = [("conv1.", "bn1."), ("layer1.",), ("layer2.",), ("layer3.",), ("layer4.",)]
    still = tuple(prefix for stage in stages[:frozen] for prefix in stage)
    for name, parameter in body.named_parameters():
        assert (parameter.grad is None) == name.startswith(still), name
    for name, tensor in body.state_dict().items():
        if "running_mean" in name:
            assert torch.equal(tensor, before[name]) == name.startswith(still), name


def test_stride_in_1x1_moves_the_stride_and_keeps_the_sizes():
    original = ResNet(BackboneSpec(depth=50, base_channels=4, stride_in_1x1=True))
    torchvisions = ResNet(BackboneSpec(depth=50, base_channels=4))
    assert original.layer2[0].conv1.stride == (2, 2)
    assert original.layer2[0].conv2.stride == (1, 1)
    assert torchvisions.layer2[0].conv1.stride == (1, 1)
    assert torchvisions.layer2[0].conv2.stride == (2, 2)
    x = torch.randn(1, 3, 64, 96)
    sizes = [[feature.shape for feature in body(x)] for body in (original, torchvisions)]
    assert sizes[0] == sizes[1] == [(1, c, 64 // s, 96 // s) for c, s in ((16, 4), (32, 8), (64, 16), (128, 32))]


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize(("norm", "groups"), [("frozen_batch", 1), ("batch", 1), ("sync_batch", 1), ("batch", 2)])
@pytest.mark.parametrize("features", ["fpn", "dc5"])
def test_folded_norms_change_nothing_but_the_modules(depth, norm, groups, features):
    torch.manual_seed(0)
    groups = groups if depth > 18 else 1
    body = ResNet(BackboneSpec(depth=depth, base_channels=4, norm=norm, groups=groups, features=features)).eval()
    randomise_norms(body)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = body(x)
        assert fold_norms(body) == []
        found = body(x)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5 * theirs.abs().max().item())  # float32
    names = {type(module).__name__ for module in body.modules()}
    assert FoldedNorm.__name__ in names
    assert not names & {"FrozenBatchNorm", "BatchNorm", "SyncBatchNorm"}


def test_group_norms_cannot_be_folded_and_are_named():
    body = ResNet(dataclasses.replace(SLIM, norm="group")).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = body(x)
        left = fold_norms(body)
        found = body(x)
    assert {"bn1", "layer1.0.bn2", "layer2.0.downsample.1", "layer4.1.bn1"} <= set(left)
    assert len(left) == sum(isinstance(module, GroupNorm) for module in body.modules()) == 20
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


def test_the_stage_of_the_c4_heads_folds_too():
    torch.manual_seed(0)
    stage = Res5Stage(BackboneSpec(depth=50, base_channels=4, features="c4")).eval()
    randomise_norms(stage)
    x = torch.randn(2, 64, 14, 14)
    with torch.no_grad():
        expected = stage(x)
        assert fold_norms(stage) == []
        found = stage(x)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())  # float32
    assert not any(isinstance(module, FrozenBatchNorm) for module in stage.modules())
