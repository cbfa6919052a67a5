"""The mask head."""

import torch
from maskline_train.model.mask_head import MaskHead, masks_of_class
from maskline_train.spec import MaskHeadSpec


def test_masks_have_twice_the_pooled_side():
    spec = MaskHeadSpec(pooled_side=5, num_convs=2, channels=6)
    head = MaskHead(8, 3, spec)
    assert head(torch.randn(4, 8, 5, 5)).shape == (4, 3, spec.mask_side, spec.mask_side) == (4, 3, 10, 10)
    assert len(head.convs) == 2


def test_no_rois_give_no_masks_but_a_gradient_for_every_weight():
    # DistributedDataParallel waits for a gradient of each parameter, also from a process without positives
    head = MaskHead(8, 3, MaskHeadSpec(pooled_side=4, num_convs=2, channels=6))
    masks = head(torch.zeros(0, 8, 4, 4))
    assert masks.shape == (0, 3, 8, 8)
    masks.sum().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.eq(0).all(), name


def test_a_cell_sees_its_own_place():
    # an impulse far from a corner must not reach the mask's corner: 2 convolutions see 2 cells, the deconvolution none
    torch.manual_seed(0)
    head = MaskHead(1, 1, MaskHeadSpec(pooled_side=8, num_convs=2, channels=4))
    with torch.no_grad():
        base, bumped = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
        bumped[0, 0, 5, 5] = 10.0
        changed = (head(base) != head(bumped))[0, 0]
    rows, columns = torch.nonzero(changed, as_tuple=True)
    assert rows.min() >= 2 * (5 - 2)
    assert columns.max() <= 2 * (5 + 2) + 1
    assert changed[10, 10]


def test_the_mask_of_the_class_is_taken():
    logits = torch.arange(2 * 3 * 2 * 2.0).reshape(2, 3, 2, 2)
    assert torch.equal(masks_of_class(logits, torch.tensor([2, 0])), torch.stack([logits[0, 2], logits[1, 0]]))
    assert masks_of_class(logits[:0], torch.zeros(0, dtype=torch.int64)).shape == (0, 2, 2)
