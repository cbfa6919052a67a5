"""Table 2c: RoIPool, RoIWarp and RoIAlign on stride-16 features.

Small:    maskline-train ablate table_2c --data out/digits --out out/ablations --init demo/base
Full:     torchrun --nproc-per-node 8 -m maskline_train.cli ablate table_2c --recipe mask_rcnn_r50_c4
              --data COCO --train-split train2017 --val-split val2017 --out runs/ablations --init resnet50.pth
Hardware: small, a CPU core and 2 GB of memory; full, the 8 GPUs of the paper (with fewer, add --total-batch).
Time:     small, in docs/ablations.md; full, the paper gives none; not measured by us.
"""

from maskline_train.paper.table import Row, Table, edit, published, text

TABLE = Table(
    title="Table 2c: RoI operators, stride 16",
    setting="ResNet-50-C4, COCO trainval35k, minival",
    finding="RoIAlign gains about 3 points of AP over RoIPool, mostly at high IoU; maximum or average is all the same.",
    kinds=("mask",),
    full="mask_rcnn_r50_c4",
    rows=(
        Row("RoIPool", "P08", edit("roi_align", mode="pool"), published(mask_AP=26.9, mask_AP50=48.8, mask_AP75=26.4)),
        Row("RoIWarp", "P09", edit("roi_align", mode="warp"), published(mask_AP=27.1, mask_AP50=48.9, mask_AP75=27.1)),
        Row(
            "RoIAlign, maximum",
            "P11",
            edit("roi_align", mode="align_max"),
            published(mask_AP=30.2, mask_AP50=51.0, mask_AP75=31.8),
        ),
        Row(
            "RoIAlign, average",
            "P12",
            edit("roi_align", mode="align_avg"),
            text(mask_AP=30.3) | published(mask_AP50=51.2, mask_AP75=31.5),
        ),
    ),
)
