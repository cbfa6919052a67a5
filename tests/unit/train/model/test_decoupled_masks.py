"""The paper's finding about masks and classes, table 2b, on a set made to show it (ledger P04, P05).

Every image has a plate with a fruit on it, and the fruit's pixels belong to the plate's mask too. Masks of independent
classes only look at the pixel: fruit is part of a plate and of a fruit, the rim is part of a plate alone. Masks of
competing classes have to settle for each pixel whose mask this is, which the box branch has settled for the object as a
whole, and which a small mask branch, that sees a few cells around the pixel, cannot tell.
"""

import numpy as np
import pytest
import torch
from maskline_train.distributed import Processes
from maskline_train.evaluation.evaluate import evaluate
from maskline_train.paper.overlaps import GROUPS, score_overlaps
from maskline_train.spec import MaskHeadSpec
from support.data.scene_data import SIDE, learned, pixel_centres, slim_network, write_scenes

CLASSES = ("plate", "fruit")
TRAIN, VAL, STEPS = 64, 32, 120
OTHER_CLASS = GROUPS[1]
GROUND, PLATE, FRUIT = (40, 60, 90), (220, 220, 220), (210, 60, 40)


def plates(count, seed):
    """Noisy scenes of one plate with a fruit in its middle."""
    rng = np.random.default_rng(seed)
    columns, rows = pixel_centres()
    for _ in range(count):
        radius = rng.uniform(18, 28)
        x, y = rng.uniform(radius, SIDE - radius, 2)
        plate, fruit = (np.hypot(columns - x, rows - y) < part for part in (radius, 0.65 * radius))
        pixels = np.where(fruit[..., None], FRUIT, np.where(plate[..., None], PLATE, GROUND))
        yield pixels + rng.normal(0, 10, (SIDE, SIDE, 3)), [(0, plate), (1, fruit)]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """For each activation box AP50 and how well what was found fits: each object overlaps the other of its image."""
    root = tmp_path_factory.mktemp("plates")
    train_set = write_scenes(root, "train", CLASSES, plates(TRAIN, 0))
    val_set = write_scenes(root, "val", CLASSES, plates(VAL, 1))
    found = {}
    for activation in ("sigmoid", "softmax"):
        spec = slim_network(CLASSES, MaskHeadSpec(num_convs=1, channels=16, activation=activation))
        model = learned(spec, train_set, STEPS)
        metrics = evaluate(model, val_set, Processes(0, 1, torch.device("cpu")))
        found[activation] = metrics.box["AP50"], score_overlaps(val_set, metrics.results, VAL)[OTHER_CLASS]
        assert found[activation][1].objects == 2 * VAL
    return found


def cost(found, kind):
    """Mean IoU over the found objects, of independent classes minus that of competing ones."""
    return getattr(found["sigmoid"][1], kind) - getattr(found["softmax"][1], kind)


@pytest.mark.learns
@pytest.mark.slow
def test_masks_of_independent_classes_are_far_better_than_masks_of_competing_ones(found, margins):
    margins.above("mask IoU that competition costs", cost(found, "mask_iou"), 0.15)


@pytest.mark.learns
@pytest.mark.slow
def test_it_is_the_masks_that_competition_hurts_and_not_the_boxes(found, margins):
    """Wrong: objects that are not found; boxes that lose as much as the masks."""
    for activation, (box_ap50, _) in found.items():
        margins.below(f"1 - box AP50, {activation}", 1 - box_ap50, 0.33, wrong=1.0)
    share = abs(cost(found, "box_iou")) / cost(found, "mask_iou")
    margins.below("box IoU that competition costs, in what it costs masks", share, 0.33, wrong=1.0)
