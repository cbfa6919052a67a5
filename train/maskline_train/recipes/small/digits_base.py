"""Digits demo, base, 1 of 3: a slim ResNet-18-FPN from nothing on a CPU. Not the paper's network.

Command:  maskline-train data digits out/digits
          maskline-train fit digits_base --data out/digits --out out/base
Hardware: 2 CPU cores, 3 GB of memory.
Time:     about half an hour on a CPU with bf16 instructions; without them set amp to "off".
Result:   see the log beside the base checkpoint that the project ships.

Differs from the paper: a quarter of ResNet-18's weights, batch norm that trains, 64 pyramid channels, small heads,
anchors from 16 px, AdamW, few samples and proposals: all so that it learns from nothing, in minutes, without a GPU.
"""

from maskline_train.data.transforms import Augmentation
from maskline_train.model.sampling import SamplingSpec
from maskline_train.recipe import AdamW, Recipe, TrainingSpec
from maskline_train.spec import (
    AnchorSpec,
    BackboneSpec,
    BoxHeadSpec,
    MaskHeadSpec,
    ModelSpec,
    PreprocessingSpec,
    ProposalSpec,
    RoIAlignSpec,
)
from maskline_train.training.schedule import Cosine


def network(classes: tuple[str, ...]) -> ModelSpec:
    """The demo's network: 3.9 million weights, 7.9 MB as float16."""
    return ModelSpec(
        classes=classes,
        preprocessing=PreprocessingSpec(  # the digits set's own size: nothing is resized
            shorter_side_px=256, longer_side_px=256, canvases=((192, 256), (256, 192), (256, 256))
        ),
        backbone=BackboneSpec(depth=18, base_channels=32, norm="batch", frozen_stages=0, fpn_channels=64),
        anchors=AnchorSpec(sizes_px=(16.0, 32.0, 64.0, 128.0, 256.0)),
        proposals=ProposalSpec(pre_nms_per_level=200, max_proposals=100),
        roi_align=RoIAlignSpec(canonical_size_px=96.0),  # digits are 20 to 100 px high: they use P2 to P4
        box_head=BoxHeadSpec(hidden=224),
        mask_head=MaskHeadSpec(num_convs=3, channels=64),
    )


def sampling() -> SamplingSpec:
    """Few RoIs: digits fill little of an image, and RoIs are most of a small network's work."""
    return SamplingSpec(
        rpn_samples=128, pre_nms_per_level=200, max_proposals=150, roi_samples=64, roi_positive_fraction=0.25
    )


def build(classes: tuple[str, ...]) -> Recipe:
    """The recipe for these classes, in data set order."""
    return Recipe(
        model=network(classes),
        sampling=sampling(),
        augmentation=Augmentation(
            flip_probability=0.0,  # a mirrored digit is another sign
            shorter_side_px=(160, 256),
            colour_strength=0.3,
        ),
        training=TrainingSpec(
            steps=1_800,
            decay=Cosine(final_factor=0.01),
            total_batch=8,
            base_lr=1e-3,
            reference_batch=8,
            warmup_steps=200,
            warmup_factor=0.01,
            optimizer=AdamW(),
            weight_decay=0.05,
            clip_norm=5.0,  # from nothing, the first hundred steps throw large gradients
            amp="bf16",  # a third faster where the CPU has bf16 instructions, slow where it has none
            channels_last=True,
            workers=0,  # decoding these images takes less than a worker process would
            log_every=20,
            checkpoint_every=250,
            evaluate_every=600,
            evaluate_images=100,
        ),
    )
