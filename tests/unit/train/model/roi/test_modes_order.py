"""The paper's finding about RoI operators, table 2c, on small objects with exact masks (ledger P08 to P13).

A mask head learns for some seconds on features that a fixed random convolution of stride 16 makes, so that the operator
is all that differs. Objects are of 15 to 45 px: a quantised box is off by a fifth of them.
"""

import math

import pytest
import torch
from margins import SEED
from maskline_train.model.roi.multiscale import roi_align_flat
from maskline_train.spec import RoIAlignSpec
from torch import nn
from torch.nn import functional
from torchvision.ops import roi_align

SIDE, STRIDE, LEVEL = 96, 16, 4
TRAIN, TEST, STEPS, POOLED, MASK = 256, 160, 110, 7, 14
MODES = ("pool", "warp", "align_max", "align_avg")


def made_shapes(count, generator):
    """Noisy images [N, 1, S, S] of one flower-like shape each, its mask [N, S, S] and its tight box [N, 4]."""

    def uniform(low, high):
        return low + (high - low) * torch.rand(count, 1, 1, generator=generator)

    y, x = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
    dx, dy, turn = x - SIDE * uniform(0.35, 0.65), y - SIDE * uniform(0.35, 0.65), uniform(0, math.pi)
    u = (dx * turn.cos() + dy * turn.sin()) / uniform(10, 20)
    v = (dy * turn.cos() - dx * turn.sin()) / uniform(10, 20)
    petals = torch.randint(2, 6, (count, 1, 1), generator=generator)
    masks = torch.hypot(u, v) < 1 / (1 + 0.35 * torch.cos(petals * torch.atan2(v, u)))
    noise = torch.randn(count, 1, SIDE, SIDE, generator=generator)
    images = masks[:, None] * uniform(0.6, 1.0)[:, None] + 0.15 * noise
    places = [torch.nonzero(mask) for mask in masks]
    boxes = torch.stack([torch.cat([p.amin(dim=0).flip(0), p.amax(dim=0).flip(0) + 1]) for p in places])
    return images, masks, boxes.float()


def jittered(boxes, generator):
    """Boxes off by up to a twelfth of their sides, as a box branch's are."""
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    return boxes + sides / 12 * (2 * torch.rand(boxes.shape, generator=generator) - 1)


def random_features(images):
    """[N, 32, S / 16, S / 16]: what a fixed random convolution sees, the same scale in every channel."""
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn(32, 1, 2 * STRIDE, 2 * STRIDE, generator=generator) / STRIDE
    maps = functional.conv2d(images, weight, stride=STRIDE, padding=STRIDE // 2).relu()
    return (maps - maps.mean((0, 2, 3), keepdim=True)) / maps.std((0, 2, 3), keepdim=True)


def targets_of(masks, boxes):
    rois = torch.cat([torch.arange(len(boxes))[:, None].float(), boxes], dim=1)
    return roi_align(masks[:, None].float(), rois, MASK, 1.0, 0, True)[:, 0]


def overlaps(mode, features, masks, boxes):
    """IoU of the masks that a head, trained with this operator, gives for objects that it has not seen."""
    torch.manual_seed(1000 * SEED + 1)
    head = nn.Sequential(
        *(nn.Conv2d(32, 48, 3, padding=1), nn.ReLU(), nn.Conv2d(48, 48, 3, padding=1), nn.ReLU()),
        *(nn.ConvTranspose2d(48, 24, 2, stride=2), nn.ReLU(), nn.Conv2d(24, 1, 1)),
    )
    optimizer = torch.optim.Adam(head.parameters())
    generator, spec = torch.Generator().manual_seed(1000 * SEED + 3), RoIAlignSpec(mode=mode)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = 6e-3 * (1 - step / STEPS)
        rows = torch.randint(0, TRAIN, (32,), generator=generator)
        rois = jittered(boxes[rows], generator)
        logits = head(roi_align_flat([features], rois, rows, spec, POOLED, LEVEL))[:, 0]
        loss = functional.binary_cross_entropy_with_logits(logits, targets_of(masks[rows], rois))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    rows = torch.arange(TRAIN, TRAIN + TEST)
    rois = jittered(boxes[rows], generator)
    with torch.no_grad():
        found = head(roi_align_flat([features], rois, rows, spec, POOLED, LEVEL))[:, 0] > 0
    true = targets_of(masks[rows], rois) >= 0.5
    return (found & true).sum((1, 2)) / (found | true).sum((1, 2))


@pytest.fixture(scope="module")
def shares():
    """For each operator the share of test masks with an IoU of at least 0.5 and of at least 0.75."""
    images, masks, boxes = made_shapes(TRAIN + TEST, torch.Generator().manual_seed(1000 * SEED))
    features = random_features(images)
    found = {mode: overlaps(mode, features, masks, boxes) for mode in MODES}
    return {mode: [(iou >= t).float().mean().item() for t in (0.5, 0.75)] for mode, iou in found.items()}


@pytest.mark.learns
def test_align_is_far_better_than_the_quantised_operators_at_high_overlap(shares, margins):
    worst_align = min(shares[mode][1] for mode in ("align_avg", "align_max"))
    best_quantising = max(shares[mode][1] for mode in ("pool", "warp"))
    margins.above("share of masks with IoU 0.75, align's less the others'", worst_align - best_quantising, 0.2)


@pytest.mark.learns
def test_at_low_overlap_the_operators_hardly_differ(shares, margins):
    # Wrong: a mask of a half everywhere, which a network that has learned nothing gives, overlaps nothing.
    margins.below("share of masks below IoU 0.5", 1 - min(share[0] for share in shares.values()), 0.1, wrong=1.0)


@pytest.mark.learns
def test_warp_is_on_par_with_pool_and_maximum_with_average(shares, margins):
    """On par: what they differ by is small beside what alignment brings."""
    gain = (shares["align_avg"][1] + shares["align_max"][1] - shares["warp"][1] - shares["pool"][1]) / 2
    for one, other in (("warp", "pool"), ("align_max", "align_avg")):
        share = abs(shares[one][1] - shares[other][1]) / gain
        margins.below(f"{one} to {other}, in gains of alignment", share, 0.33, wrong=1.0)
