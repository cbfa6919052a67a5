"""Table 5: boxes, masks and keypoints of persons, trained alone and together.

Small:    maskline-train ablate table_5 --data out/figures --out out/ablations --init demo/base
Full:     torchrun --nproc-per-node 8 -m maskline_train.cli ablate table_5 --recipe keypoint_mask_rcnn_r50_fpn
              --data COCO --train-split train2017 --val-split val2017 --out runs/ablations --init resnet50.pth
Hardware: small, a CPU core and 2 GB of memory; full, the 8 GPUs of the paper (with fewer, add --total-batch).
Time:     small, in docs/ablations.md; full, the paper gives none; not measured by us.
"""

import dataclasses

from maskline_train.paper.table import Change, Row, Table, published
from maskline_train.recipe import Recipe


def _branches(*, masks: bool, keypoints: bool) -> Change:
    """Of the base recipe's two branches only these; it has to have both."""

    def change(recipe: Recipe) -> Recipe:
        model = recipe.model
        if model.mask_head is None or model.keypoint_head is None:
            raise ValueError(
                "table_5: got a base recipe without masks or keypoints, expected both; "
                "leave out --recipe, or choose keypoint_mask_rcnn_r50_fpn"
            )
        model = dataclasses.replace(
            model,
            mask_head=model.mask_head if masks else None,
            keypoint_head=model.keypoint_head if keypoints else None,
        )
        return dataclasses.replace(recipe, model=model)

    return change


TABLE = Table(
    title="Table 5: multi-task learning of box, mask and keypoint, person",
    setting="ResNet-50-FPN, COCO trainval35k, minival",
    finding="Masks help boxes and keypoints; keypoints cost boxes and masks a little.",
    kinds=("box", "mask", "keypoint"),
    small="ablation_small_figures",
    full="keypoint_mask_rcnn_r50_fpn",
    rows=(
        Row("Faster R-CNN", "P63", _branches(masks=False, keypoints=False), published(box_AP=52.5)),
        Row(
            "Mask R-CNN, mask only", "P63", _branches(masks=True, keypoints=False), published(box_AP=53.6, mask_AP=45.8)
        ),
        Row(
            "Mask R-CNN, keypoint only",
            "P63",
            _branches(masks=False, keypoints=True),
            published(box_AP=50.7, keypoint_AP=64.2),
        ),
        Row(
            "Mask R-CNN, keypoint and mask",
            "P63",
            _branches(masks=True, keypoints=True),
            published(box_AP=52.0, mask_AP=45.1, keypoint_AP=64.7),
        ),
    ),
)
