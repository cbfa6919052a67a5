"""Heads that begin with convolutions and norms, against plain layers in a row and against torchvision's heads."""

import functools

import pytest
import torch
from maskline_train.model.heads.box_head import BoxHead
from maskline_train.model.heads.mask_head import MaskHead
from maskline_train.spec import BoxHeadSpec, MaskHeadSpec
from torch import nn
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

SIDE, CHANNELS = 5, 6
# float64: each output is a sum of some hundred products of the order of one, added up in another order at most
TOLERANCE = 1e-10
BOX_HEADS = {
    "the paper's": BoxHeadSpec(SIDE, 7),
    "one layer": BoxHeadSpec(SIDE, 7, num_fcs=1),
    "three layers": BoxHeadSpec(SIDE, 7, num_fcs=3),
    "four convolutions, one layer": BoxHeadSpec(SIDE, 7, num_convs=4, conv_channels=8, num_fcs=1),
    "two convolutions with norms": BoxHeadSpec(SIDE, 7, num_convs=2, conv_channels=8, norm="group", norm_groups=4),
    "layers with norms": BoxHeadSpec(SIDE, 8, norm_groups=4, fc_norm="group"),
}


def conv_layers(spec, width):
    """The convolutions of a head, as a person would write them down."""
    layers, inputs = [], CHANNELS
    for _ in range(spec.num_convs):
        layers.append(nn.Conv2d(inputs, width, 3, padding=1, bias=spec.norm == "none"))
        layers += [nn.GroupNorm(spec.norm_groups, width)] if spec.norm == "group" else []
        layers.append(nn.ReLU())
        inputs = width
    return layers


def box_layers(spec):
    """The layers of a box head before its two answers."""
    layers = [*conv_layers(spec, spec.conv_channels), nn.Flatten()]
    inputs = (spec.conv_channels if spec.num_convs > 0 else CHANNELS) * SIDE * SIDE
    for _ in range(spec.num_fcs):
        layers.append(nn.Linear(inputs, spec.hidden))
        layers += [nn.GroupNorm(spec.norm_groups, spec.hidden)] if spec.fc_norm == "group" else []
        layers.append(nn.ReLU())
        inputs = spec.hidden
    return nn.Sequential(*layers)


@torch.no_grad()
def copy_layers(theirs, ours):
    """The weights of one row of layers into a head, by kind; numbers in its norms that no norm starts with."""
    kinds = {
        kind: [m for m in theirs.modules() if isinstance(m, kind)] for kind in (nn.Conv2d, nn.GroupNorm, nn.Linear)
    }
    for norm in kinds[nn.GroupNorm]:
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.uniform_(-0.5, 0.5)
    fcs = [getattr(ours, f"fc{number}") for number in range(1, len(kinds[nn.Linear]) + 1)]
    norms = [*ours.norms, *getattr(ours, "fc_norms", [])]
    for mine, others in ((ours.convs, kinds[nn.Conv2d]), (norms, kinds[nn.GroupNorm]), (fcs, kinds[nn.Linear])):
        for layer, other in zip(mine, others, strict=True):
            layer.load_state_dict(other.state_dict())


@pytest.mark.parametrize("name", BOX_HEADS)
def test_a_box_head_is_its_layers_in_a_row(name):
    torch.manual_seed(0)
    spec = BOX_HEADS[name]
    theirs, ours = box_layers(spec).double(), BoxHead(CHANNELS, 3, spec).double()
    copy_layers(theirs, ours)
    x = torch.randn(9, CHANNELS, SIDE, SIDE, dtype=torch.float64)
    hidden = theirs(x)
    assert hidden.std() > 0.01
    class_logits, box_deltas = ours(x)
    assert (class_logits.shape, box_deltas.shape) == ((9, 4), (9, 12))
    assert (class_logits - ours.class_logits(hidden)).abs().max() < TOLERANCE
    assert (box_deltas - ours.box_deltas(hidden)).abs().max() < TOLERANCE


@pytest.mark.parametrize("norm", ["none", "group"])
def test_a_box_head_is_torchvisions(norm):
    torch.manual_seed(0)
    spec = BoxHeadSpec(SIDE, 7, num_convs=4, conv_channels=8, num_fcs=1, norm=norm, norm_groups=2)
    layer = functools.partial(nn.GroupNorm, 2) if norm == "group" else None
    theirs = FastRCNNConvFCHead((CHANNELS, SIDE, SIDE), [8] * 4, [7], norm_layer=layer).double()
    ours = BoxHead(CHANNELS, 3, spec).double()
    copy_layers(theirs, ours)
    x = torch.randn(9, CHANNELS, SIDE, SIDE, dtype=torch.float64)
    hidden = theirs(x)
    assert hidden.std() > 0.01
    assert (ours(x)[0] - ours.class_logits(hidden)).abs().max() < TOLERANCE


def test_names_of_a_checkpoint():
    head = BoxHead(CHANNELS, 3, BOX_HEADS["the paper's"])
    modules = {name.rpartition(".")[0] for name in head.state_dict()}
    assert modules == {"fc1", "fc2", "class_logits", "box_deltas"}  # what checkpoints have had from the first on
    head = BoxHead(CHANNELS, 3, BOX_HEADS["two convolutions with norms"])
    new = {name for name in head.state_dict() if name.startswith(("convs", "norms"))}
    assert new == {"convs.0.weight", "convs.1.weight"} | {
        f"norms.{i}.{key}" for i in (0, 1) for key in ("weight", "bias")
    }
    names = BoxHead(CHANNELS, 3, BOX_HEADS["four convolutions, one layer"]).state_dict()
    assert {"convs.3.weight", "convs.3.bias", "fc1.weight"} <= set(names)
    assert "fc2.weight" not in names


@pytest.mark.parametrize("name", BOX_HEADS)
def test_no_rois_give_no_boxes_but_a_gradient_for_every_weight(name):
    # DistributedDataParallel waits for a gradient of each parameter
    head = BoxHead(CHANNELS, 3, BOX_HEADS[name])
    class_logits, box_deltas = head(torch.zeros(0, CHANNELS, SIDE, SIDE))
    assert (class_logits.shape, box_deltas.shape) == ((0, 4), (0, 12))
    (class_logits.sum() + box_deltas.sum()).backward()
    for key, parameter in head.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.eq(0).all(), key


MASK_HEADS = {
    "the paper's": MaskHeadSpec(SIDE, 4, 8),
    "two convolutions with norms": MaskHeadSpec(SIDE, 2, 8, norm="group", norm_groups=2),
    "four convolutions with norms": MaskHeadSpec(SIDE, 4, 8, norm="group", norm_groups=8),
}


@pytest.mark.parametrize("name", MASK_HEADS)
def test_a_mask_head_is_its_layers_in_a_row_and_torchvisions(name):
    torch.manual_seed(0)
    spec = MASK_HEADS[name]
    layer = functools.partial(nn.GroupNorm, spec.norm_groups) if spec.norm == "group" else None
    row = nn.Sequential(*conv_layers(spec, 8)).double()
    theirs = MaskRCNNHeads(CHANNELS, [8] * spec.num_convs, 1, norm_layer=layer).double()
    predictor = MaskRCNNPredictor(8, 8, 3).double()
    ours = MaskHead(CHANNELS, 3, spec).double()
    copy_layers(theirs, ours)
    for mine, other in zip(row.parameters(), theirs.parameters(), strict=True):
        mine.data.copy_(other)
    nn.init.normal_(ours.mask_logits.weight)  # it starts too small for a difference to be seen
    predictor.conv5_mask.load_state_dict(ours.upsample.state_dict())
    predictor.mask_fcn_logits.load_state_dict(ours.mask_logits.state_dict())
    x = torch.randn(9, CHANNELS, SIDE, SIDE, dtype=torch.float64)
    found = ours(x)
    assert found.std() > 0.1
    assert (found - predictor(theirs(x))).abs().max() < TOLERANCE
    assert (found - ours.mask_logits(ours.upsample(row(x)).relu())).abs().max() < TOLERANCE


def test_names_of_a_mask_head_in_a_checkpoint():
    names = {name.rpartition(".")[0] for name in MaskHead(CHANNELS, 3, MASK_HEADS["the paper's"]).state_dict()}
    assert names == {f"convs.{i}" for i in range(4)} | {"upsample", "mask_logits"}  # as from the first on
    head = MaskHead(CHANNELS, 3, MASK_HEADS["two convolutions with norms"])
    assert {name.rpartition(".")[0] for name in head.state_dict()} == {
        *("convs.0", "convs.1", "norms.0", "norms.1", "upsample", "mask_logits")
    }
    assert "convs.0.bias" not in head.state_dict()
