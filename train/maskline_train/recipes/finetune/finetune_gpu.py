"""Your own data on a GPU, from a COCO model that you have: ResNet-50-FPN at 800 px.

Command:  maskline-train import maskrcnn_resnet50_fpn_coco.pth runs/coco
          maskline-train fit finetune_gpu --data DATA --out runs/mine --init runs/coco --keep-network
Hardware: one GPU of 24 GB or more; not run on one yet.
Time:     not measured.
Result:   not measured.

`--keep-network` takes network and conventions of the import; without it they are those of the paper's baseline, as in
`mask_rcnn_r50_fpn`, whose checkpoints fit. Differs from the paper: a short cosine by AdamW at a gentle rate, bf16.
"""

import dataclasses

from maskline_train.data.transforms import Augmentation
from maskline_train.recipe import AdamW, Recipe
from maskline_train.recipes.coco import mask_rcnn_r50_fpn
from maskline_train.training.schedule import Cosine


def build(classes: tuple[str, ...]) -> Recipe:
    """The paper's baseline with another optimisation, and scales as in its appendix."""
    base = mask_rcnn_r50_fpn.build(classes)
    training = dataclasses.replace(
        base.training,
        steps=1_500,
        decay=Cosine(final_factor=0.01),
        total_batch=8,
        reference_batch=8,
        base_lr=1e-4,
        warmup_steps=100,
        warmup_factor=0.01,
        optimizer=AdamW(),
        weight_decay=0.05,
        clip_norm=5.0,  # the last layers are new, and their first gradients large
        compile=False,  # its first minutes would be much of a short run
        workers=8,
        checkpoint_every=500,
        evaluate_every=500,
        evaluate_images=500,
    )
    augmentation = Augmentation(flip_probability=0.5, shorter_side_px=(640, 800), colour_strength=0.2)
    return dataclasses.replace(base, augmentation=augmentation, training=training)
