"""The convolutional mask heads, and the mask that is read from the logits of any."""

import pytest
import torch
from maskline_train.model.heads.mask_head import MaskHead, Res5MaskHead, mask_probabilities, masks_of_class
from maskline_train.model.losses import mask_terms
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


@pytest.mark.parametrize(
    ("activation", "class_agnostic", "channels"),
    [("sigmoid", False, 3), ("sigmoid", True, 1), ("softmax", False, 4), ("softmax", True, 2)],
)
def test_every_variant_has_its_channels(activation, class_agnostic, channels):
    spec = MaskHeadSpec(pooled_side=4, num_convs=1, channels=6, activation=activation, class_agnostic=class_agnostic)
    assert MaskHead(8, 3, spec)(torch.randn(2, 8, 4, 4)).shape == (2, channels, 8, 8)
    # the stage res5 has halved 4 x 4 to 2 x 2
    assert Res5MaskHead(8, 3, spec)(torch.randn(2, 8, 2, 2)).shape == (2, channels, 4, 4)


def test_the_res5_head_doubles_what_the_stage_halved():
    spec = MaskHeadSpec(kind="res5", pooled_side=14, channels=256)
    with torch.device("meta"):
        head = Res5MaskHead(2048, 80, spec)
        masks = head(torch.zeros(3, 2048, 7, 7))
    assert masks.shape == (3, 80, spec.mask_side, spec.mask_side) == (3, 80, 14, 14)  # figure 4, left
    assert head.upsample.weight.shape == (2048, 256, 2, 2)


LOGITS = torch.tensor([[1.0, -2.0, 0.5, 3.0], [0.0, 4.0, -1.0, 0.25]])[:, :, None, None]  # [2, 4, 1, 1]
LABELS = torch.tensor([2, 0])


@pytest.mark.parametrize(
    ("activation", "class_agnostic", "expected"),
    [
        ("sigmoid", False, LOGITS[[0, 1], [2, 0]].sigmoid()),
        ("sigmoid", True, LOGITS[:, 0].sigmoid()),
        ("softmax", False, LOGITS[[0, 1], [2, 0]].exp() / LOGITS.exp().sum(dim=1)),
        ("softmax", True, (LOGITS[:, 0] - LOGITS[:, 1]).sigmoid()),
    ],
)
def test_probabilities_by_hand(activation, class_agnostic, expected):
    spec = MaskHeadSpec(activation=activation, class_agnostic=class_agnostic)
    logits = LOGITS[:, : spec.num_channels(3)]
    assert torch.allclose(mask_probabilities(logits, LABELS, spec), expected, rtol=1e-6)
    assert mask_probabilities(logits.half(), LABELS, spec).dtype == torch.float32
    assert mask_probabilities(logits[:0], LABELS[:0], spec).shape == (0, 1, 1)


def disks(count, side, generator):
    """Masks [N, M, M] of disks somewhere in their RoI."""
    centres = torch.rand(count, 2, generator=generator) * side / 2 + side / 4
    cells = torch.arange(side) + 0.5
    y, x = cells[None, :, None] - centres[:, :1, None], cells[None, None, :] - centres[:, 1:, None]
    return (y**2 + x**2 <= (side / 4) ** 2).float()


def mean_iou_of_a_trained_head(activation, confused):
    """Train a head on disks of three classes, whose class the features show or not; IoU of the true class's masks."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    spec = MaskHeadSpec(pooled_side=6, num_convs=1, channels=16, activation=activation)
    head = MaskHead(4, 3, spec)
    optimiser = torch.optim.AdamW(head.parameters(), lr=0.01)

    def batch():
        labels = torch.randint(0, 3, (32,), generator=generator)
        wanted = disks(32, spec.mask_side, generator)
        shape = torch.nn.functional.avg_pool2d(wanted[:, None], 2)
        shown = torch.nn.functional.one_hot(labels, 3)[:, :, None, None] * (not confused)
        return torch.cat([shape, shown.expand(-1, -1, 6, 6)], dim=1).float(), labels, wanted

    for _ in range(150):
        features, labels, wanted = batch()
        term = mask_terms(head(features), labels, wanted, torch.ones(32).bool(), spec)["mask"]
        optimiser.zero_grad()
        (term.total / term.number).backward()
        optimiser.step()
    features, labels, wanted = batch()
    with torch.no_grad():
        found = mask_probabilities(head(features), labels, spec) >= 0.5
    inside = wanted > 0.5
    return ((found & inside).sum() / (found | inside).sum()).item()


def test_sigmoid_masks_are_right_where_classes_are_confused_and_softmax_masks_are_not():
    """Ledger P05: a mask that competes among three classes nobody can tell apart gets a third of each cell.

    The class that the box branch names is right here; what is lost is the mask.
    """
    assert mean_iou_of_a_trained_head("sigmoid", confused=True) > 0.85
    assert mean_iou_of_a_trained_head("softmax", confused=True) < 0.1
    assert mean_iou_of_a_trained_head("softmax", confused=False) > 0.85  # it can do it where classes are told apart
