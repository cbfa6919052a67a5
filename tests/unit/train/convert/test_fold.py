"""A norm inside of the convolution before it gives what both gave."""

from __future__ import annotations

import pytest
import torch
from maskline_train.convert.fold import fold_batch_norms
from torch import nn


@pytest.mark.parametrize("bias", [False, True])
def test_a_convolution_keeps_its_bias_when_its_norm_is_folded(bias: bool) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4)).eval()
    for name, tensor in net.state_dict().items():
        if name.startswith("1.") and tensor.dim():
            tensor.uniform_(0.5, 1.5)
    folded = fold_batch_norms(net.state_dict(), lambda norm: "0." if norm == "1." else None, 1e-5)
    alone = nn.Conv2d(3, 4, 3)
    alone.load_state_dict({name.removeprefix("0."): tensor for name, tensor in folded.items()})
    image = torch.rand(1, 3, 8, 8)
    assert torch.allclose(alone(image), net(image), atol=1e-5)  # float32


@pytest.mark.parametrize(("variance", "eps"), [(-0.1, 1e-5), (0.0, 0.0)])
def test_a_variance_that_has_no_root_is_named(variance: float, eps: float) -> None:
    weights = {"0.weight": torch.ones(2, 1, 1, 1), "1.running_var": torch.tensor([1.0, variance])}
    weights |= {f"1.{part}": torch.ones(2) for part in ("weight", "bias", "running_mean")}
    with pytest.raises(ValueError, match=r"^weight '1.running_var': got a variance of .*, expected above 0"):
        fold_batch_norms(weights, lambda norm: "0.", eps)
