"""Table 3: what training with masks does for boxes.

Small:    maskline-train ablate table_3 --data out/digits --out out/ablations --init demo/base
Full:     torchrun --nproc-per-node 8 -m maskline_train.cli ablate table_3 --recipe mask_rcnn_r101_fpn
              --data COCO --train-split train2017 --val-split val2017 --out runs/ablations --init resnet101.pth
Hardware: small, a CPU core and 2 GB of memory; full, the 8 GPUs of the paper (with fewer, add --total-batch).
Time:     small, in docs/ablations.md; full, 44 hours with masks on GPUs of 2017, says the paper.
"""

from maskline_train.paper.table import Row, Table, published, same, without_masks

TABLE = Table(
    title="Table 3: boxes, with and without the mask branch in training",
    setting="ResNet-101-FPN, COCO trainval35k, test-dev",
    finding="Training masks beside boxes gains 0.9 points of box AP.",
    kinds=("box",),
    full="mask_rcnn_r101_fpn",
    rows=(
        Row("Faster R-CNN, RoIAlign", "P55", without_masks, published(box_AP=37.3, box_AP50=59.6, box_AP75=40.3)),
        Row("Mask R-CNN", "P54", same, published(box_AP=38.2, box_AP50=60.3, box_AP75=41.7)),
    ),
)
