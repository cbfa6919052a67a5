"""The mask branch of fully connected layers."""

import torch
from maskline_train.model.heads.mask_mlp_head import MLPMaskHead
from maskline_train.spec import MaskHeadSpec


def test_masks_by_hand():
    torch.manual_seed(0)
    spec = MaskHeadSpec(kind="mlp", pooled_side=3, hidden=5)
    head = MLPMaskHead(2, 4, spec)
    x = torch.randn(6, 2, 3, 3)
    found = head(x)
    assert found.shape == (6, 4, spec.mask_side, spec.mask_side) == (6, 4, 6, 6)
    hidden = (x.reshape(6, 18) @ head.fc1.weight.T + head.fc1.bias).clamp(min=0)
    hidden = (hidden @ head.fc2.weight.T + head.fc2.bias).clamp(min=0)
    rows = head.mask_logits.weight[2 * 36 + 7]  # class 2, cell (1, 1)
    assert torch.allclose(found[:, 2, 1, 1], hidden @ rows, atol=1e-6)  # float32; biases start at zero


def test_the_published_head_has_the_papers_widths():
    with torch.device("meta"):
        head = MLPMaskHead(256, 80, MaskHeadSpec(kind="mlp"))
    assert head.fc1.weight.shape == (1024, 256 * 14 * 14)
    assert head.fc2.weight.shape == (1024, 1024)
    assert head.mask_logits.weight.shape == (80 * 28**2, 1024)  # table 2e: 1024 -> 1024 -> 80 * 28^2


def test_no_rois_give_no_masks_but_a_gradient_for_every_weight():
    head = MLPMaskHead(8, 3, MaskHeadSpec(kind="mlp", pooled_side=4, hidden=6, activation="softmax"))
    masks = head(torch.zeros(0, 8, 4, 4))
    assert masks.shape == (0, 4, 8, 8)
    masks.sum().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
