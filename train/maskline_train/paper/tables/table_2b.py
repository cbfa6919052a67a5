"""Table 2b: masks of independent classes (sigmoid) against masks of competing classes (softmax).

Small:    maskline-train ablate table_2b --data out/digits --out out/ablations --init demo/base
Full:     torchrun --nproc-per-node 8 -m maskline_train.cli ablate table_2b --recipe mask_rcnn_r50_c4
              --data COCO --train-split train2017 --val-split val2017 --out runs/ablations --init resnet50.pth
Hardware: small, a CPU core and 2 GB of memory; full, the 8 GPUs of the paper (with fewer, add --total-batch).
Time:     small, in docs/ablations.md; full, the paper gives none; not measured by us.
"""

from maskline_train.paper.table import Row, Table, edit, published, text

TABLE = Table(
    title="Table 2b: multinomial against independent masks",
    setting="ResNet-50-C4, COCO trainval35k, minival",
    finding="Decoupling mask and class by a sigmoid for each class is worth 5.5 points of mask AP.",
    kinds=("mask",),
    full="mask_rcnn_r50_c4",
    rows=(
        Row(
            "softmax",
            "P05",
            edit("mask_head", activation="softmax"),
            text(mask_AP=24.8) | published(mask_AP50=44.1, mask_AP75=25.1),
        ),
        Row(
            "sigmoid",
            "P04",
            edit("mask_head", activation="sigmoid"),
            text(mask_AP=30.3) | published(mask_AP50=51.2, mask_AP75=31.5),
        ),
    ),
)
