"""Table 7: Cityscapes, from a classifier's weights and from a COCO model, class by class.

Small:    maskline-train data digits out/few --seed 7 --train-images 60 --val-images 60
          maskline-train ablate table_7 --data out/few --out out/ablations --init demo/base
Full:     maskline-train data cityscapes CITYSCAPES out/cityscapes
          torchrun --nproc-per-node 8 -m maskline_train.cli ablate table_7 --recipe cityscapes_r50_fpn
              --data out/cityscapes --out runs/ablations --init resnet50.pth --row fine
          the same with --init runs/r50/best --row fine-and-coco, a checkpoint of mask_rcnn_r50_fpn
Hardware: small, a CPU core and 2 GB of memory; full, the 8 GPUs of the paper (with fewer, add --total-batch).
Time:     small, in docs/ablations.md; full, 4 hours and 1 hour on GPUs of 2017, says the paper.

Small, the larger set is the digits that the demo's checkpoint has seen, and the few images are new ones of their kind.
"""

from maskline_train.paper.table import BODY, EVERYTHING, Row, Table, published, same, schedule

TABLE = Table(
    title="Table 7: Cityscapes, fine annotations alone and after COCO",
    setting="ResNet-50-FPN, Cityscapes fine, val; on test the text says 26.2 and 32.0",
    finding="A model of another, larger set is worth almost 6 points of AP on test, with a sixth of the steps.",
    kinds=("mask",),
    small="ablation_small_few",
    full="cityscapes_r50_fpn",
    equal_budgets=False,
    rows=(
        Row("fine", "P70", same, published(mask_AP=31.5), start=BODY),
        # 4k steps, the rate reduced at 3k, where training from a classifier has 24k: 160 / 6 and 120 / 6.
        Row("fine and COCO", "P71", schedule(160 / 6, 120 / 6), published(mask_AP=36.4), start=EVERYTHING),
    ),
)
