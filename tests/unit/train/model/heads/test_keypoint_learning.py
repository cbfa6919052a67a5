"""Keypoints are learned: a few pictures by heart, corners of shapes so that they are found in pictures never seen.

Both reach an OKS AP above 0.9 in about a minute, through the real training loop.
"""

import dataclasses
from pathlib import Path

import pytest
import torch
from margins import SEED, Margins
from maskline_train.data.coco import CocoDataset
from maskline_train.data.errors import DataError
from maskline_train.data.made.figures import FLIP_PAIRS, KEYPOINTS, SIGMAS, make_figures
from maskline_train.data.transforms import Augmentation
from maskline_train.distributed import Processes
from maskline_train.fit import fit
from maskline_train.model.sampling import SamplingSpec
from maskline_train.recipe import AdamW, Recipe, TrainingSpec
from maskline_train.recipes.small import figures_keypoints
from maskline_train.spec import (
    AnchorSpec,
    BackboneSpec,
    BoxHeadSpec,
    KeypointHeadSpec,
    ModelSpec,
    PreprocessingSpec,
    ProposalSpec,
    RoIAlignSpec,
)
from maskline_train.training.metrics_log import read_metrics
from maskline_train.training.schedule import Cosine
from support.data.shapes_data import CLASSES, CORNERS, write_shapes
from support.data.shapes_data import FLIP_PAIRS as CORNER_PAIRS

NUM_IMAGES, STEPS = 2, 150
DEMO_BASE = Path(__file__).parents[4] / "demo" / "base"
ALONE = Processes(0, 1, torch.device("cpu"))


def recipe() -> Recipe:
    """A network of 0.4 million weights for canvases of 128 px, and a rate that fits a handful of images."""
    return Recipe(
        model=ModelSpec(
            classes=("figure",),
            preprocessing=PreprocessingSpec(shorter_side_px=96, longer_side_px=128, canvases=((128, 128),)),
            backbone=BackboneSpec(depth=18, base_channels=12, norm="batch", frozen_stages=0, fpn_channels=32),
            anchors=AnchorSpec(sizes_px=(12.0, 24.0, 48.0, 96.0, 192.0)),
            proposals=ProposalSpec(pre_nms_per_level=40, max_proposals=30),
            roi_align=RoIAlignSpec(),
            box_head=BoxHeadSpec(hidden=64),
            mask_head=None,
            keypoint_head=KeypointHeadSpec(KEYPOINTS, FLIP_PAIRS, SIGMAS, num_convs=2, channels=32),
        ),
        sampling=SamplingSpec(rpn_samples=64, pre_nms_per_level=60, max_proposals=40, roi_samples=32),
        augmentation=Augmentation(flip_probability=0.0),
        training=TrainingSpec(
            steps=STEPS,
            decay=Cosine(final_factor=0.02),
            total_batch=NUM_IMAGES,
            base_lr=4e-3,
            reference_batch=NUM_IMAGES,
            warmup_steps=10,
            optimizer=AdamW(),
            clip_norm=5.0,
            workers=0,
            seed=SEED,
            log_every=1,
            checkpoint_every=1000,
            evaluate_every=1000,
        ),
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("learning") / "figures"
    make_figures(out, train_images=NUM_IMAGES, val_images=1)
    return out


@pytest.mark.learns
@pytest.mark.slow
def test_a_few_pictures_are_learned_by_heart(data: Path, tmp_path: Path, margins: Margins) -> None:
    pictures = CocoDataset(data, "train", annotations="person_keypoints")
    assert sum(len(record.annotations) for record in pictures) >= 4
    metrics = fit(recipe(), pictures, pictures, tmp_path / "run", ALONE)
    assert metrics is not None
    assert metrics.keypoint is not None
    assert metrics.keypoint["AP"] is not None
    margins.below("1 - keypoint AP", 1 - metrics.keypoint["AP"], 0.3, wrong=1.0)  # an untrained network finds nothing
    losses = [float(entry["keypoint"]) for entry in read_metrics(tmp_path / "run" / "metrics.jsonl") if "loss" in entry]
    assert losses[0] > 6  # nearly log(56 * 56) = 8.05, the loss of knowing nothing
    margins.below("keypoint loss, last to first", losses[-1] / losses[0], 0.33, wrong=1.0)
    assert (tmp_path / "run" / "pictures" / f"step-{STEPS:08d}.png").is_file()
    assert (tmp_path / "run" / "best" / "model.json").is_file()


@pytest.mark.learns
@pytest.mark.long
def test_corners_of_shapes_in_pictures_never_seen_are_found(tmp_path: Path, margins: Margins) -> None:
    """The keypoint recipe's network and loop on smaller canvases, from the demo's trunk; flips swap left and right."""
    data = write_shapes(tmp_path / "shapes", {"train": 160, "val": 24}, most=1, sides_px=(28, 72), all_corners=True)
    train_set, val_set = CocoDataset(data, "train"), CocoDataset(data, "val")
    base = figures_keypoints.build(CLASSES)
    model = dataclasses.replace(
        base.model,
        preprocessing=dataclasses.replace(
            base.model.preprocessing, shorter_side_px=96, longer_side_px=128, canvases=((96, 128),)
        ),
        keypoint_head=KeypointHeadSpec(CORNERS, CORNER_PAIRS, num_convs=2, channels=32),
    )
    training = dataclasses.replace(
        base.training,
        seed=SEED,
        steps=200,
        total_batch=4,
        reference_batch=4,
        base_lr=2e-3,
        warmup_steps=10,
        evaluate_every=1000,
    )
    chosen = dataclasses.replace(base, model=model, training=training, augmentation=Augmentation(flip_probability=0.5))
    metrics = fit(chosen, train_set, val_set, tmp_path / "run", ALONE, init=DEMO_BASE)
    assert metrics is not None
    assert metrics.keypoint is not None
    assert metrics.keypoint["AP"] is not None
    margins.below("1 - keypoint AP", 1 - metrics.keypoint["AP"], 0.3, wrong=1.0)  # an untrained network finds nothing


def test_data_without_the_models_keypoints_is_refused_before_anything_is_written(data: Path, tmp_path: Path) -> None:
    pictures = CocoDataset(data, "train", annotations="person_keypoints")
    chosen = recipe()
    head = KeypointHeadSpec(names=("tip",))
    other = dataclasses.replace(chosen, model=dataclasses.replace(chosen.model, keypoint_head=head))
    with pytest.raises(DataError, match="expected the model's keypoints tip"):
        fit(other, pictures, pictures, tmp_path / "run", ALONE)
    assert not (tmp_path / "run").exists()
