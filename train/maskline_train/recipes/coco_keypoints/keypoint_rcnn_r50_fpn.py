"""Keypoint R-CNN with ResNet-50-FPN on COCO persons: the paper's keypoint baseline (ledger P58 to P61).

Command:  torchrun --nproc-per-node 8 -m maskline_train.cli fit keypoint_rcnn_r50_fpn --data COCO --out runs/kp-r50
              --annotations person_keypoints --train-split train2017 --val-split val2017 --init resnet50.pth
Hardware: the paper trained on 8 GPUs, 2 images each; with fewer, add --total-batch (rate and schedule follow).
Time:     not in the paper, not measured by us.
Result:   the paper says 62.7 keypoint AP on test-dev for this and 0.9 points less for the 2016 winner; the published
          table gives 64.2 on minival; not reproduced by us.

Differs from the paper: end-to-end joint training, 118k `train2017`.
"""

from maskline_train.data.coco_person import FLIP_PAIRS, KEYPOINTS, SIGMAS
from maskline_train.data.transforms import Augmentation
from maskline_train.model.sampling import SamplingSpec
from maskline_train.recipe import Recipe, Sgd, TrainingSpec
from maskline_train.spec import BackboneSpec, KeypointHeadSpec, ModelSpec
from maskline_train.training.schedule import StepDecay


def build(classes: tuple[str, ...]) -> Recipe:
    """The recipe for these classes: person alone in COCO's person_keypoints files."""
    return Recipe(
        model=ModelSpec(
            classes=classes,
            backbone=BackboneSpec(depth=50),
            mask_head=None,
            keypoint_head=KeypointHeadSpec(  # P59: 8 convolutions of 512, 56 x 56
                names=KEYPOINTS, flip_pairs=FLIP_PAIRS, sigmas=SIGMAS, num_convs=8, channels=512
            ),
        ),
        sampling=SamplingSpec(roi_samples=512, roi_positive_fraction=0.25),
        augmentation=Augmentation(flip_probability=0.5, shorter_side_px=(640, 800)),  # P60; tested at 800
        training=TrainingSpec(
            steps=90_000,  # P60
            total_batch=16,
            base_lr=0.02,
            decay=StepDecay(milestones=(60_000, 80_000), factor=0.1),
            optimizer=Sgd(momentum=0.9),
            weight_decay=1e-4,
            amp="bf16",  # for a GPU's tensor cores, on a CPU too; weights, geometry and losses stay float32
            channels_last=True,  # the layout of its convolutions
            compile=True,
        ),
    )
