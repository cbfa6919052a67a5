"""Mask R-CNN with ResNet-50-FPN on Cityscapes, fine annotations only (ledger P69, P70).

Command:  maskline-train data cityscapes CITYSCAPES out/cityscapes
          torchrun --nproc-per-node 8 -m maskline_train.cli fit cityscapes_r50_fpn --data out/cityscapes
              --out runs/cityscapes --init resnet50.pth
          maskline-train evaluate runs/cityscapes/best --data out/cityscapes --cityscapes CITYSCAPES
Hardware: the paper trained on 8 GPUs, 1 image each; with fewer, add --total-batch (rate and schedule follow).
Time:     the paper says about 4 hours on 8 GPUs of 2017; not measured by us.
Result:   the paper says 26.2 AP on test (28.8, 53.5 and 33.0 for truck, bus and train on val); the published table
          gives 31.5 AP on val; not reproduced by us.

Differs from the paper: end-to-end joint training. The paper is silent on warm-up and flips: as for COCO.
"""

from maskline_train.data.transforms import Augmentation
from maskline_train.model.sampling import SamplingSpec
from maskline_train.recipe import Recipe, Sgd, TrainingSpec
from maskline_train.spec import BackboneSpec, ModelSpec, PreprocessingSpec
from maskline_train.training.schedule import StepDecay


def build(classes: tuple[str, ...]) -> Recipe:
    """The recipe for these classes, in data set order."""
    return Recipe(
        model=ModelSpec(
            classes=classes,
            preprocessing=PreprocessingSpec(  # "inference is on a single scale of 1024 pixels": nothing is resized
                shorter_side_px=1024, longer_side_px=2048, canvases=((1024, 2048),)
            ),
            backbone=BackboneSpec(depth=50),
        ),
        sampling=SamplingSpec(roi_samples=512, roi_positive_fraction=0.25),
        augmentation=Augmentation(flip_probability=0.5, shorter_side_px=(800, 1024)),
        training=TrainingSpec(
            steps=24_000,
            total_batch=8,  # 1 image a GPU, 8 GPUs
            base_lr=0.01,
            reference_batch=8,
            decay=StepDecay(milestones=(18_000,), factor=0.1),
            optimizer=Sgd(momentum=0.9),
            weight_decay=1e-4,
            amp="bf16",  # for a GPU's tensor cores, on a CPU too; weights, geometry and losses stay float32
            channels_last=True,  # the layout of its convolutions
            compile=True,
            checkpoint_every=1_000,
            evaluate_every=6_000,
        ),
    )
