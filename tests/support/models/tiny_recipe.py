"""A recipe for tests: a few thousand weights, steps of milliseconds. Also passed by path to `maskline-train fit`."""

from __future__ import annotations

import dataclasses

from maskline_train.data.transforms import Augmentation
from maskline_train.model.sampling import SamplingSpec
from maskline_train.recipe import Recipe, Sgd, TrainingSpec
from maskline_train.training.schedule import StepDecay
from support.models.tiny import tiny_spec


def build(classes: tuple[str, ...]) -> Recipe:
    """Twelve steps of two images, a checkpoint every fourth."""
    return Recipe(
        model=dataclasses.replace(tiny_spec(), classes=classes),
        sampling=SamplingSpec(
            rpn_samples=32, pre_nms_per_level=50, max_proposals=50, roi_samples=16, roi_positive_fraction=0.5
        ),
        augmentation=Augmentation(colour_strength=0.2),
        training=TrainingSpec(
            steps=12,
            decay=StepDecay(milestones=(6,)),
            total_batch=2,
            base_lr=0.02,
            reference_batch=2,
            warmup_steps=3,
            optimizer=Sgd(momentum=0.9),
            clip_norm=5.0,
            ema_decay=0.9,
            seed=3,
            workers=0,
            log_every=1,
            checkpoint_every=4,
            evaluate_every=100,
            evaluate_images=4,
        ),
    )
