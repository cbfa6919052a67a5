"""The norms of a body: groups by definition, and the joint batch of several processes."""

import pytest
import torch
from maskline_train.model.backbone.backbone import FPN
from maskline_train.model.backbone.norms import (
    BatchNorm,
    FrozenBatchNorm,
    GroupNorm,
    SyncBatchNorm,
    build_norm,
    scale_and_shift,
)
from maskline_train.model.heads.convolutions import build_norms
from maskline_train.spec import BackboneSpec
from support.processes.two import run_two
from torch import nn
from torch.nn import functional


def identity(channels, dtype=torch.float64):
    conv = nn.Conv2d(channels, channels, 1, bias=False).to(dtype)
    conv.weight.data = torch.eye(channels, dtype=dtype)[:, :, None, None]
    return conv


@pytest.mark.parametrize(
    ("name", "kind"),
    [("frozen_batch", FrozenBatchNorm), ("batch", BatchNorm), ("sync_batch", SyncBatchNorm), ("group", GroupNorm)],
)
def test_the_spec_decides(name, kind):
    assert type(build_norm(64, BackboneSpec(norm=name))) is kind


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (2048, 32), (8, 4), (24, 4), (6, 1), (1, 1)])
def test_groups_are_32_and_never_of_a_single_channel(channels, groups):
    assert GroupNorm(channels).num_groups == groups  # 2 channels a group are what ResNet's 64 have


def test_the_spec_says_how_many_groups():
    assert build_norm(64, BackboneSpec(norm="group", norm_groups=16)).num_groups == 16
    assert build_norm(64, BackboneSpec(norm="group")).num_groups == 32
    assert build_norm(8, BackboneSpec(norm="group", norm_groups=2)).num_groups == 2
    assert build_norm(32, BackboneSpec(norm="group", least_group_channels=1)).num_groups == 32


def test_group_norm_by_definition():
    torch.manual_seed(0)
    norm = GroupNorm(8).double()
    norm.weight.data.uniform_(0.5, 2)
    norm.bias.data.uniform_(-1, 1)
    x = torch.randn(2, 8, 3, 5, dtype=torch.float64)
    found = norm.after(identity(8), x)
    for image in range(2):
        for group in range(4):
            channels = slice(2 * group, 2 * group + 2)
            values = x[image, channels]
            scaled = (values - values.mean()) / (values.var(unbiased=False) + 1e-5).sqrt()
            expected = scaled * norm.weight[channels, None, None] + norm.bias[channels, None, None]
            assert torch.allclose(found[image, channels], expected, rtol=1e-12, atol=1e-12)  # float64


def test_a_frozen_norm_keeps_the_groups_of_its_convolution():
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(8, 8, 3, padding=1, groups=4, bias=False), FrozenBatchNorm(8)
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    norm.weight.uniform_(0.5, 2)
    x = torch.randn(1, 8, 5, 5)
    scale, shift = scale_and_shift(norm)
    expected = conv(x) * scale[:, None, None] + shift[:, None, None]
    assert torch.allclose(norm.after(conv, x), expected, atol=1e-5)  # float32


def test_one_process_synchronises_with_nobody():
    torch.manual_seed(0)
    x = torch.randn(3, 4, 5, 6)
    sync, batch = SyncBatchNorm(4), BatchNorm(4)
    conv = identity(4, torch.float32)
    for mode in (True, False):
        sync.train(mode)
        batch.train(mode)
        assert torch.equal(sync.after(conv, x), batch.after(conv, x))
    assert torch.equal(sync.running_var, batch.running_var)


PROCESS = """
import torch
from torch import distributed
from maskline_train.model.backbone.norms import SyncBatchNorm

distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
x, weights = torch.load(folder / "inputs.pt")
rows = (slice(0, 1), slice(1, 4))[rank]  # unequal shares
norm = SyncBatchNorm(x.shape[1]).double()
norm.weight.data.copy_(torch.arange(1, 4))
mine = x[rows].clone().requires_grad_()
result = norm(mine)
(result * weights[rows]).sum().backward()
torch.save([result.detach(), mine.grad, norm.weight.grad, norm.running_mean, norm.running_var], folder / f"{rank}.pt")
distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_normalise_as_one_does_the_joint_batch(tmp_path):
    torch.manual_seed(0)
    x = torch.randn(4, 3, 2, 5, dtype=torch.float64) * 3 + 1
    weights = torch.randn_like(x)
    torch.save((x, weights), tmp_path / "inputs.pt")
    run_two(PROCESS, folder=tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))

    norm = nn.BatchNorm2d(3).double()
    norm.weight.data.copy_(torch.arange(1, 4))
    joint = x.clone().requires_grad_()
    result = norm(joint)
    (result * weights).sum().backward()
    assert torch.allclose(torch.cat([first[0], second[0]]), result, rtol=1e-9)  # float64
    assert torch.allclose(torch.cat([first[1], second[1]]), joint.grad, rtol=1e-9, atol=1e-12)
    assert torch.allclose(first[2] + second[2], norm.weight.grad, rtol=1e-9)
    for outcome in (first, second):
        assert torch.allclose(outcome[3], norm.running_mean, rtol=1e-9)
        assert torch.allclose(outcome[4], norm.running_var, rtol=1e-9)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("part", ["body", "pyramid", "head"])
def test_a_group_norm_is_as_exact_in_either_layout(part, layout):
    """Of values far from zero: float32 rounds 100 by 4e-6, a few times; its square by 5e-4, in a variance of 1."""
    spec = BackboneSpec(fpn_norm="group", fpn_channels=32)
    norm = {
        "body": lambda: GroupNorm(32, least=1),
        "pyramid": lambda: FPN([32], spec).lateral_norms[0],
        "head": lambda: build_norms(32, 1, "group", 32)[0],
    }[part]()
    assert norm.num_groups == 32
    x = torch.randn(1, 32, 64, 64, generator=torch.Generator().manual_seed(0)) + 100
    found = norm(x.contiguous(memory_format=layout))
    assert (found - functional.group_norm(x.double(), 32)).abs().max() < 1e-3
