"""Mask R-CNN with ResNet-50-FPN on COCO: the paper's baseline (ledger P23, P29 to P33).

Command:  torchrun --nproc-per-node 8 -m maskline_train.cli fit mask_rcnn_r50_fpn --data COCO --out runs/r50
              --train-split train2017 --val-split val2017 --init resnet50.pth
Hardware: the paper trained on 8 GPUs, 2 images each; with fewer, add --total-batch (rate and schedule follow).
Time:     the paper says 32 hours on 8 GPUs of 2017 (0.72 s a batch of 16 images); not measured by us.
Result:   the published table gives 33.6 mask AP on minival, trained in stages on trainval35k; not reproduced by us.

Differs from the paper: end-to-end joint training (the paper's own appendix B finds it better), 118k `train2017`.
"""

from maskline_train.data.transforms import Augmentation
from maskline_train.model.sampling import SamplingSpec
from maskline_train.recipe import Recipe, Sgd, TrainingSpec
from maskline_train.spec import BackboneSpec, ModelSpec
from maskline_train.training.schedule import StepDecay


def build(classes: tuple[str, ...]) -> Recipe:
    """The recipe for these classes, in data set order."""
    return Recipe(
        model=ModelSpec(classes=classes, backbone=BackboneSpec(depth=50)),
        sampling=SamplingSpec(roi_samples=512, roi_positive_fraction=0.25),  # P32: 512 RoIs, positive:negative 1:3
        augmentation=Augmentation(flip_probability=0.5),
        training=TrainingSpec(
            steps=160_000,  # P33
            total_batch=16,  # P31: 2 images a GPU, 8 GPUs
            base_lr=0.02,
            decay=StepDecay(milestones=(120_000,), factor=0.1),
            optimizer=Sgd(momentum=0.9),
            weight_decay=1e-4,
            amp="bf16",  # for a GPU's tensor cores, on a CPU too; weights, geometry and losses stay float32
            channels_last=True,  # the layout of its convolutions
            compile=True,
        ),
    )
