"""Digits, full size: ResNet-50-FPN with group norms from nothing, 800 px, one GPU. Not the paper's network.

Command:  maskline-train data digits out/digits --scale 4
          maskline-train fit digits_full_size --data out/digits --out out/full_size
Hardware: one GPU of 80 GB and 12 cores; not run on one yet.
Time:     meant for 25 minutes on an H100; not measured.
Result:   not measured. `make owed` trains it in parts and evaluates it in PyTorch and served, in float16 and int8.

A network of the published size that was trained, where no data set is at hand: what precision costs shows on it and
not on random weights. Differs from the paper: norms everywhere and learned from nothing (He et al. 2018, Rethinking
ImageNet Pre-training, section 3.1), AdamW, made data.
"""

import dataclasses

from maskline_train.data.transforms import Augmentation
from maskline_train.recipe import AdamW, Recipe
from maskline_train.recipes.coco import mask_rcnn_r50_fpn_v2
from maskline_train.spec import PreprocessingSpec
from maskline_train.training.schedule import Cosine


def build(classes: tuple[str, ...]) -> Recipe:
    """The baseline with group norms in its body too, and another optimisation."""
    base = mask_rcnn_r50_fpn_v2.build(classes)
    model = dataclasses.replace(
        base.model,
        backbone=dataclasses.replace(base.model.backbone, norm="group", frozen_stages=0),
        preprocessing=PreprocessingSpec(longer_side_px=1088, canvases=((800, 1088), (1088, 800), (1088, 1088))),
    )
    training = dataclasses.replace(
        base.training,
        steps=5_000,
        decay=Cosine(final_factor=0.01),
        total_batch=16,
        reference_batch=16,
        base_lr=3e-4,
        warmup_steps=300,
        warmup_factor=0.01,
        optimizer=AdamW(),
        weight_decay=0.05,
        clip_norm=5.0,  # from nothing, the first hundred steps throw large gradients
        workers=12,
        checkpoint_every=500,
        evaluate_every=5_000,
        evaluate_images=100,
    )
    augmentation = Augmentation(flip_probability=0.0, colour_strength=0.3)  # a mirrored digit is another sign
    return dataclasses.replace(base, model=model, augmentation=augmentation, training=training)
