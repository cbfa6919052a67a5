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
from maskline_train.spec import MaskHeadSpec
from support.data.scene_data import SIDE, learned, pixel_centres, slim_network, write_scenes

CLASSES = ("plate", "fruit")
TRAIN, VAL, STEPS = 64, 32, 100
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


def lost(found, kind):
    """AP of independent classes minus that of competing ones."""
    return getattr(found["sigmoid"], kind)["AP"] - getattr(found["softmax"], kind)["AP"]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    root = tmp_path_factory.mktemp("plates")
    train_set = write_scenes(root, "train", CLASSES, plates(TRAIN, 0))
    val_set = write_scenes(root, "val", CLASSES, plates(VAL, 1))
    metrics = {}
    for activation in ("sigmoid", "softmax"):
        spec = slim_network(CLASSES, MaskHeadSpec(num_convs=1, channels=16, activation=activation))
        model = learned(spec, train_set, STEPS)
        metrics[activation] = evaluate(model, val_set, Processes(0, 1, torch.device("cpu")))
    return metrics


@pytest.mark.learns
@pytest.mark.slow
def test_masks_of_independent_classes_are_far_better_than_masks_of_competing_ones(found, margins):
    margins.above("mask AP that competition costs", lost(found, "mask"), 0.2)


@pytest.mark.learns
@pytest.mark.slow
def test_it_is_the_masks_that_competition_hurts_and_not_the_boxes(found, margins):
    """Both networks find and name the objects; how well their boxes fit is luck, which moves their masks along."""
    for activation, metrics in found.items():
        margins.below(f"1 - box AP50, {activation}", 1 - metrics.box["AP50"], 0.2, wrong=1.0)
    margins.above("mask AP minus box AP that competition costs", lost(found, "mask") - lost(found, "box"), 0.15)
