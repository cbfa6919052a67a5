"""Table 2a: backbones."""

from maskline_train.ablation import Row, Table, chain, edit, published, text

C4 = chain(edit("backbone", features="c4"), edit("mask_head", kind="res5"), edit("box_head", pooled_side=14))
FPN = edit("backbone", features="fpn")
RESNEXT = edit("backbone", depth=101, groups=64, width_per_group=4)

TABLE = Table(
    title="Table 2a: backbone architecture",
    setting="COCO trainval35k, minival",
    finding="Deeper networks and better designs (FPN, ResNeXt) both help.",
    kinds=("mask",),
    rows=(
        Row(
            "ResNet-50-C4",
            "P20",
            chain(C4, edit("backbone", depth=50)),
            text(mask_AP=30.3) | published(mask_AP50=51.2, mask_AP75=31.5),
        ),
        Row(
            "ResNet-101-C4",
            "P21",
            chain(C4, edit("backbone", depth=101)),
            published(mask_AP=32.7, mask_AP50=54.2, mask_AP75=34.3),
        ),
        Row(
            "ResNet-50-FPN",
            "P23",
            chain(FPN, edit("backbone", depth=50)),
            published(mask_AP=33.6, mask_AP50=55.2, mask_AP75=35.3),
        ),
        Row(
            "ResNet-101-FPN",
            "P24",
            chain(FPN, edit("backbone", depth=101)),
            published(mask_AP=35.4, mask_AP50=57.3, mask_AP75=37.5),
        ),
        Row(
            "ResNeXt-101-FPN",
            "P25",
            chain(FPN, RESNEXT),
            text(mask_AP=36.7) | published(mask_AP50=59.5, mask_AP75=38.9),
        ),
    ),
)
