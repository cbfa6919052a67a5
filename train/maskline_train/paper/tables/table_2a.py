"""Table 2a: backbones.

Small:    maskline-train ablate table_2a --data out/digits --out out/ablations --init demo/base
Full:     torchrun --nproc-per-node 8 -m maskline_train.cli ablate table_2a --recipe mask_rcnn_r50_fpn
              --data COCO --train-split train2017 --val-split val2017 --out runs/ablations --init resnet50.pth
              and the rows of other bodies with their own weights:
              --init resnet101.pth --row resnet-101-c4 --row resnet-101-fpn
              --init resnext101_64x4d.pth --row resnext-101-fpn
Hardware: small, a CPU core and 2 GB of memory; full, the 8 GPUs of the paper (with fewer, add --total-batch).
Time:     small, in docs/ablations.md; full, says the paper, 32 (ResNet-50-FPN) and 44 hours (101) on GPUs of 2017.

The features (C4 or FPN) change on any body, so those two rows run small; nothing deeper has weights there.
"""

from maskline_train.paper.table import BODY, Row, Table, chain, edit, published, text

C4 = chain(edit("backbone", features="c4"), edit("mask_head", kind="res5"), edit("box_head", pooled_side=14))
FPN = edit("backbone", features="fpn")
DEEPER = edit("backbone", depth=101)
RESNEXT = edit("backbone", depth=101, groups=64, width_per_group=4)

TABLE = Table(
    title="Table 2a: backbone architecture",
    setting="COCO trainval35k, minival",
    finding="Deeper networks and better designs (FPN, ResNeXt) both help.",
    kinds=("mask",),
    rows=(
        Row("ResNet-50-C4", "P20", C4, text(mask_AP=30.3) | published(mask_AP50=51.2, mask_AP75=31.5), start=BODY),
        Row(
            "ResNet-101-C4",
            "P21",
            chain(C4, DEEPER),
            published(mask_AP=32.7, mask_AP50=54.2, mask_AP75=34.3),
            start=BODY,
            needs="the weights of a classifier of 101 layers",
        ),
        Row("ResNet-50-FPN", "P23", FPN, published(mask_AP=33.6, mask_AP50=55.2, mask_AP75=35.3), start=BODY),
        Row(
            "ResNet-101-FPN",
            "P24",
            chain(FPN, DEEPER),
            published(mask_AP=35.4, mask_AP50=57.3, mask_AP75=37.5),
            start=BODY,
            needs="the weights of a classifier of 101 layers",
        ),
        Row(
            "ResNeXt-101-FPN",
            "P25",
            chain(FPN, RESNEXT),
            text(mask_AP=36.7) | published(mask_AP50=59.5, mask_AP75=38.9),
            start=BODY,
            needs="the weights of a ResNeXt of 101 layers",
        ),
    ),
)
