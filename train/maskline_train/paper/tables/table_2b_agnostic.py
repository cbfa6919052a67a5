"""Section 4.2 of the text: one mask for all classes against one for each class.

Small:    maskline-train ablate table_2b_agnostic --data out/digits --out out/ablations --init demo/base
Full:     torchrun --nproc-per-node 8 -m maskline_train.cli ablate table_2b_agnostic --recipe mask_rcnn_r50_c4
              --data COCO --train-split train2017 --val-split val2017 --out runs/ablations --init resnet50.pth
Hardware: small, a CPU core and 2 GB of memory; full, the 8 GPUs of the paper (with fewer, add --total-batch).
Time:     small, in docs/ablations.md; full, the paper gives none; not measured by us.
"""

from maskline_train.paper.table import Row, Table, edit, text

TABLE = Table(
    title="Class-specific against class-agnostic masks (section 4.2)",
    setting="ResNet-50-C4, COCO trainval35k, minival",
    finding="Class-agnostic masks are nearly as good: the box branch has settled the class.",
    kinds=("mask",),
    full="mask_rcnn_r50_c4",
    rows=(
        Row("class-agnostic", "P06", edit("mask_head", class_agnostic=True), text(mask_AP=29.7)),
        Row("class-specific", "P04", edit("mask_head", class_agnostic=False), text(mask_AP=30.3)),
    ),
)
