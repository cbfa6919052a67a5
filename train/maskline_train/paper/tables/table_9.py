"""Table 9, appendix: what later improvements add to the keypoint baseline, one after the other.

Small:    maskline-train ablate table_9 --data out/figures --out out/ablations --init demo/base
Full:     torchrun --nproc-per-node 8 -m maskline_train.cli ablate table_9 --recipe keypoint_rcnn_r50_fpn
              --data COCO --train-split train2017 --val-split val2017 --out runs/ablations
              --init resnet50.pth --row original --row updated-baseline
          the same with --init resnet101.pth --row resnet-101
          the same with --init resnext101_64x4d.pth --row resnext-101
          the same with the set that `maskline-train distil` made of resnext-101/best and unlabelled images,
              --init resnext101_64x4d.pth --row data-distillation --row scales-in-testing
Hardware: small, a CPU core and 2 GB of memory; full, the 8 GPUs of the paper (with fewer, add --total-batch).
Time:     small, in docs/ablations.md; full, the paper gives none; not measured by us.
"""

from maskline_train.paper.table import Row, Table, chain, edit, published, schedule, text, without_masks

UPDATED = chain(without_masks, schedule(130, 100, 120, of=90))
DEEPER = chain(UPDATED, edit("backbone", depth=101))
RESNEXT = chain(UPDATED, edit("backbone", depth=101, groups=64, width_per_group=4))

TABLE = Table(
    title="Table 9 (appendix): enhanced keypoint results",
    setting="ResNet-50-FPN and what replaces or is added to it, COCO trainval35k, minival",
    finding="A longer schedule, deeper bodies, unlabelled images and many views each add to keypoint AP.",
    kinds=("keypoint",),
    small="ablation_small_figures",
    full="keypoint_rcnn_r50_fpn",
    equal_budgets=False,
    rows=(
        Row("original", "P61", without_masks, published(keypoint_AP=64.2)),
        Row("updated baseline", "P65", UPDATED, published(keypoint_AP=65.1)),
        Row("ResNet-101", "P66", DEEPER, text(keypoint_AP=66.1), needs="the weights of a classifier of 101 layers"),
        Row("ResNeXt-101", "P66", RESNEXT, text(keypoint_AP=67.3), needs="the weights of a ResNeXt of 101 layers"),
        Row("data distillation", "P67", RESNEXT, text(keypoint_AP=69.1), needs="a set that `distil` made, as --data"),
        # The text prints "704": the decimal point was lost.
        Row("scales in testing", "P68", RESNEXT, text(keypoint_AP=70.4), augmented=True),
    ),
)
