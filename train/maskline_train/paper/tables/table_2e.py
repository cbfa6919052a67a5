"""Table 2e: mask heads of fully connected layers against a fully convolutional one.

Small:    maskline-train ablate table_2e --data out/digits --out out/ablations --init demo/base
Full:     torchrun --nproc-per-node 8 -m maskline_train.cli ablate table_2e --recipe mask_rcnn_r50_fpn
              --data COCO --train-split train2017 --val-split val2017 --out runs/ablations --init resnet50.pth
Hardware: small, a CPU core and 2 GB of memory; full, the 8 GPUs of the paper (with fewer, add --total-batch).
Time:     small, in docs/ablations.md; full, 32 hours a row on GPUs of 2017, says the paper.
"""

from maskline_train.paper.table import Row, Table, edit, published

TABLE = Table(
    title="Table 2e: the mask branch, MLP against FCN",
    setting="ResNet-50-FPN, COCO trainval35k, minival",
    finding="Convolutions keep the layout of space: the FCN gains 2.1 points of mask AP over an MLP.",
    kinds=("mask",),
    rows=(
        Row("MLP", "P07", edit("mask_head", kind="mlp"), published(mask_AP=31.5, mask_AP50=53.7, mask_AP75=32.8)),
        Row("FCN", "P07", edit("mask_head", kind="fcn"), published(mask_AP=33.6, mask_AP50=55.2, mask_AP75=35.3)),
    ),
)
