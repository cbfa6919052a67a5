"""Table 2d: RoIPool and RoIAlign on features of stride 32.

Small:    maskline-train ablate table_2d --data out/digits --out out/ablations --init demo/base
Full:     torchrun --nproc-per-node 8 -m maskline_train.cli ablate table_2d --recipe mask_rcnn_r50_c5
              --data COCO --train-split train2017 --val-split val2017 --out runs/ablations --init resnet50.pth
Hardware: small, a CPU core and 2 GB of memory; full, the 8 GPUs of the paper (with fewer, add --total-batch).
Time:     small, in docs/ablations.md; full, the paper gives none; not measured by us.
"""

from maskline_train.paper.table import Row, Table, chain, edit, published, text

C5 = edit("backbone", features="c5")

TABLE = Table(
    title="Table 2d: RoIAlign on stride-32 features",
    setting="ResNet-50-C5, COCO trainval35k, minival",
    finding="With large strides misalignment hurts more: RoIAlign gains 7.3 points of mask AP, half of AP75.",
    kinds=("mask", "box"),
    small="ablation_small_c5",
    full="mask_rcnn_r50_c5",
    rows=(
        Row(
            "RoIPool",
            "P14",
            chain(C5, edit("roi_align", mode="pool")),
            text(mask_AP=23.6) | published(mask_AP50=46.5, mask_AP75=21.6, box_AP=28.2, box_AP50=52.7, box_AP75=26.9),
        ),
        Row(
            "RoIAlign",
            "P14",
            chain(C5, edit("roi_align", mode="align_avg")),
            text(mask_AP=30.9) | published(mask_AP50=51.8, mask_AP75=32.1, box_AP=34.0, box_AP50=55.3, box_AP75=36.4),
        ),
    ),
)
