"""Table 8, appendix: what later improvements add to the ResNeXt-101-FPN baseline, one after the other.

Small:    maskline-train ablate table_8 --data out/digits --out out/ablations --init demo/base
Full:     torchrun --nproc-per-node 8 -m maskline_train.cli ablate table_8 --recipe mask_rcnn_x101_fpn
              --data COCO --train-split train2017 --val-split val2017 --out runs/ablations
              --init resnext101_64x4d.pth --row original --row updated-baseline --row end-to-end
          the same with --init resnext101_in5k.pth --row imagenet-5k --row scales-in-training
          the same with --init resnext152_in5k.pth --row deeper --row non-local --row scales-in-testing
Hardware: small, a CPU core and 2 GB of memory; full, the 8 GPUs of the paper (with fewer, add --total-batch).
Time:     small, in docs/ablations.md; full, the paper gives none; not measured by us.
"""

import dataclasses

from maskline_train.paper.table import Row, Table, chain, edit, published, schedule, text
from maskline_train.recipe import Recipe


def one_scale(recipe: Recipe) -> Recipe:
    """Training images of the size of testing."""
    return dataclasses.replace(recipe, augmentation=dataclasses.replace(recipe.augmentation, shorter_side_px=None))


def many_scales(recipe: Recipe) -> Recipe:
    """Training images of 640 to 800 px where testing has 800."""
    side = recipe.model.preprocessing.shorter_side_px
    augmentation = dataclasses.replace(recipe.augmentation, shorter_side_px=(round(0.8 * side), side))
    return dataclasses.replace(recipe, augmentation=augmentation)


def deeper(recipe: Recipe) -> Recipe:
    """152 layers for 101; another body stays as it is."""
    return edit("backbone", depth=152)(recipe) if recipe.model.backbone.depth == 101 else recipe


ORIGINAL = chain(one_scale, edit("box_head", nms_thresh=0.3))
UPDATED = chain(one_scale, edit("box_head", nms_thresh=0.5), schedule(180, 120, 160))
SCALES = chain(many_scales, edit("box_head", nms_thresh=0.5), schedule(260, 200, 240))
NON_LOCAL = chain(SCALES, deeper, edit("backbone", non_local=True))

TABLE = Table(
    title="Table 8 (appendix): enhanced results",
    setting="ResNeXt-101-FPN and what is added to it, COCO trainval35k, minival",
    finding="Each improvement adds to mask and box AP, 5.1 and 7.7 points together.",
    kinds=("mask", "box"),
    full="mask_rcnn_x101_fpn",
    equal_budgets=False,
    rows=(
        Row(
            "original",
            "P25",
            ORIGINAL,
            text(mask_AP=36.7, box_AP=39.6) | published(mask_AP50=59.5, mask_AP75=38.9, box_AP50=61.5, box_AP75=43.2),
            stagewise=True,
        ),
        Row(
            "updated baseline",
            "P38",
            UPDATED,
            text(mask_AP=37.0, box_AP=40.5) | published(mask_AP50=59.7, mask_AP75=39.0, box_AP50=63.0, box_AP75=43.7),
            stagewise=True,
        ),
        Row(
            "end to end",
            "P37",
            UPDATED,
            text(mask_AP=37.6, box_AP=41.7) | published(mask_AP50=60.4, mask_AP75=39.9, box_AP50=64.1, box_AP75=45.2),
        ),
        Row(
            "ImageNet-5k",
            "P39",
            UPDATED,
            text(mask_AP=38.6, box_AP=42.7) | published(mask_AP50=61.7, mask_AP75=40.9, box_AP50=65.1, box_AP75=46.6),
            needs="a body trained on 5k classes of ImageNet",
        ),
        Row(
            "scales in training",
            "P40",
            SCALES,
            text(mask_AP=39.2, box_AP=43.5) | published(mask_AP50=62.5, mask_AP75=41.6, box_AP50=65.9, box_AP75=47.2),
        ),
        Row(
            "deeper",
            "P26",
            chain(SCALES, deeper),
            text(mask_AP=39.7, box_AP=44.1) | published(mask_AP50=63.2, mask_AP75=42.2, box_AP50=66.4, box_AP75=48.4),
            needs="the weights of a ResNeXt of 152 layers",
        ),
        Row(
            "non-local",
            "P27",
            NON_LOCAL,
            text(mask_AP=40.3, box_AP=45.0) | published(mask_AP50=64.4, mask_AP75=42.8, box_AP50=67.8, box_AP75=48.9),
        ),
        Row(
            "scales in testing",
            "P46",
            NON_LOCAL,
            text(mask_AP=41.8, box_AP=47.3) | published(mask_AP50=66.0, mask_AP75=44.8, box_AP50=69.3, box_AP75=51.5),
            augmented=True,
        ),
    ),
)
