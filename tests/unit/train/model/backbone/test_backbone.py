"""The pyramid and the backbone's first layer."""

import functools

import pytest
import torch
from maskline_train.model.backbone.backbone import FPN, STRIDES, Backbone
from maskline_train.spec import BackboneSpec, PreprocessingSpec
from torch import nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

SLIM = BackboneSpec(depth=18, base_channels=4, fpn_channels=8)


def info(*sizes):
    return torch.tensor([[h, w, 1.0, 1.0, h, w] for h, w in sizes])


@pytest.mark.parametrize("norm", ["none", "group"])
def test_pyramid_is_torchvisions(norm):
    torch.manual_seed(0)
    layer = functools.partial(nn.GroupNorm, 3) if norm == "group" else None
    theirs = FeaturePyramidNetwork([4, 6, 8, 10], 6, LastLevelMaxPool(), norm_layer=layer)
    ours = FPN((4, 6, 8, 10), BackboneSpec(fpn_channels=6, fpn_norm=norm, norm_groups=3))
    blocks = [*theirs.inner_blocks, *theirs.layer_blocks]
    for mine, block in zip([*ours.lateral, *ours.output], blocks, strict=True):
        mine.load_state_dict(block[0].state_dict())
    norms = [block[1] for block in blocks] if norm == "group" else []
    for mine, other in zip([*ours.lateral_norms, *ours.output_norms], norms, strict=True):
        nn.init.uniform_(other.weight, 0.5, 1.5)
        nn.init.uniform_(other.bias, -0.5, 0.5)
        mine.load_state_dict(other.state_dict())
    features = [torch.randn(2, c, 32 // s, 48 // s) for c, s in ((4, 1), (6, 2), (8, 4), (10, 8))]
    expected = theirs({str(i): feature for i, feature in enumerate(features)})
    found = ours(features)
    assert len(found) == 5
    for mine, other in zip(found, expected.values(), strict=True):
        assert torch.equal(mine, other)  # the same layers in the same order


def test_names_of_a_pyramid_in_a_checkpoint():
    def names(**changes):
        pyramid = FPN((4, 6), BackboneSpec(fpn_channels=8, norm_groups=2, **changes))
        return set(pyramid.state_dict())

    kernels = {f"{kind}.{level}.weight" for kind in ("lateral", "output") for level in (0, 1)}
    assert names() == kernels | {name.replace("weight", "bias") for name in kernels}  # as from the first on
    norms = {name.replace(".", "_norms.", 1) for name in kernels}
    assert names(fpn_norm="group") == kernels | norms | {name.replace("weight", "bias") for name in norms}


def test_levels_have_the_sizes_of_their_strides():
    backbone = Backbone(SLIM, PreprocessingSpec())
    features = backbone(torch.zeros(2, 96, 160, 3, dtype=torch.uint8), info((96, 160), (90, 50)))
    assert [tuple(feature.shape) for feature in features] == [
        (2, 8, -(-96 // stride), -(-160 // stride)) for stride in STRIDES
    ]


def test_normalisation_by_hand():
    preprocessing = PreprocessingSpec(mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 5.0))
    canvas = torch.full((1, 32, 32, 3), 50, dtype=torch.uint8)
    pixels = Backbone(SLIM, preprocessing).normalise(canvas, info((32, 32)))
    assert pixels[0, :, 7, 9].tolist() == [20.0, 7.5, 4.0]


def test_padding_is_zero_whatever_the_canvas_holds_there():
    canvas = torch.randint(1, 255, (2, 32, 64, 3), dtype=torch.uint8)
    pixels = Backbone(SLIM, PreprocessingSpec()).normalise(canvas, info((20, 64), (32, 33)))
    assert pixels[0, :, 20:].eq(0).all()
    assert pixels[0, :, :20].ne(0).all()
    assert pixels[1, :, :, 33:].eq(0).all()
    assert pixels[1, :, :, :33].ne(0).all()


def test_mean_and_std_are_not_in_the_weights():
    names = Backbone(SLIM, PreprocessingSpec()).state_dict()
    assert not {"mean", "std"} & set(names)
