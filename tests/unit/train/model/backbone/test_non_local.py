"""The non-local block: by definition, as an identity, and blind to padding."""

import math

import pytest
import torch
from maskline_train.model.backbone.non_local import NonLocal
from maskline_train.model.backbone.resnet import ResNet
from maskline_train.spec import BackboneSpec

SLIM = BackboneSpec(depth=50, base_channels=4, norm="group", frozen_stages=0, non_local=True)


def block(channels=4, scale=0.5):
    """A block in float64 whose every weight matters."""
    torch.manual_seed(0)
    module = NonLocal(channels).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=scale)
    return module


def info(*sizes):
    return torch.tensor([[h, w, 1.0, 1.0, h, w] for h, w in sizes])


def by_definition(module, x, cells):
    """x + W_z y with y_i = sum_j exp(theta_i . phi_j) g_j / sum_j exp(theta_i . phi_j), as loops over the cells."""
    maps = [conv(x[None])[0] for conv in (module.theta, module.phi, module.g)]
    result = x.clone()
    for row in range(x.shape[1]):
        for column in range(x.shape[2]):
            theta = maps[0][:, row, column]
            affinities = [math.exp(float(theta @ maps[1][:, r, c])) for r, c in cells]
            read = sum(a * maps[2][:, r, c] for a, (r, c) in zip(affinities, cells, strict=True)) / sum(affinities)
            weights = module.out.weight[:, :, 0, 0]
            result[:, row, column] = x[:, row, column] + weights @ read + module.out.bias
    return result


@torch.no_grad()
def test_cells_read_from_all_cells_of_their_image():
    module = block()
    x = torch.randn(2, 4, 3, 2, dtype=torch.float64)
    every = [(row, column) for row in range(3) for column in range(2)]
    for image, found in enumerate(module(x)):
        assert torch.allclose(found, by_definition(module, x[image], every), rtol=1e-9)  # float64
    # 33 x 16 px reach into 3 rows and 1 column; 1 x 32 px into 1 row and 2 columns
    for image, cells in enumerate(([(0, 0), (1, 0), (2, 0)], [(0, 0), (0, 1)])):
        found = module(x, info((33, 16), (1, 32)))[image]
        assert torch.allclose(found, by_definition(module, x[image], cells), rtol=1e-9)


def test_gradients_are_those_of_finite_differences():
    module = block()
    x = torch.randn(1, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: module(x, info((32, 32))), [x])
    assert torch.autograd.gradcheck(lambda w: torch.func.functional_call(module, {"theta.weight": w}, x.detach()),
                                    [module.theta.weight])  # fmt: skip


def test_the_block_starts_as_an_identity_that_can_learn():
    torch.manual_seed(0)
    with_block, x = ResNet(SLIM).eval(), torch.randn(1, 3, 64, 64)
    without = ResNet(BackboneSpec(**{**SLIM.__dict__, "non_local": False})).eval()
    weights = with_block.state_dict()
    names = without.state_dict().keys()
    assert weights.keys() - names == {f"non_local.{part}.{kind}" for part in ("theta", "phi", "g", "out")
                                      for kind in ("weight", "bias")}  # fmt: skip
    without.load_state_dict({name: weights[name] for name in names})
    for found, expected in zip(with_block(x), without(x), strict=True):
        assert torch.equal(found, expected)
    with_block(x)[-1].sum().backward()
    assert with_block.non_local.out.weight.grad.abs().sum() > 0


def test_the_block_sits_before_the_last_block_of_res4():
    body = ResNet(SLIM)
    order = []
    for name, module in body.named_modules():
        if name == "non_local" or (name.count(".") == 1 and name.startswith("layer")):
            module.register_forward_hook(lambda *_, name=name: order.append(name))
    body(torch.zeros(1, 3, 32, 32))
    at = order.index("non_local")
    assert (order[at - 1], order[at + 1]) == ("layer3.4", "layer3.5")


@pytest.mark.parametrize("frozen", [3, 4])
def test_the_block_freezes_with_its_stage(frozen):
    body = ResNet(BackboneSpec(**{**SLIM.__dict__, "frozen_stages": frozen}))
    assert body.non_local.out.weight.requires_grad == (frozen < 4)


@torch.no_grad()
def test_the_block_does_not_see_the_size_of_the_canvas():
    module = block()
    image = torch.randn(1, 4, 2, 3, dtype=torch.float64)
    canvas = torch.randn(1, 4, 4, 6, dtype=torch.float64)
    canvas[:, :, :2, :3] = image
    small, large = module(image, info((32, 48))), module(canvas, info((32, 48)))[:, :, :2, :3]
    assert torch.allclose(small, large, rtol=1e-9)
    assert not torch.allclose(module(canvas)[:, :, :2, :3], small, rtol=1e-3)
