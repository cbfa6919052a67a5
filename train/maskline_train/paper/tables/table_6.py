"""Table 6: RoIPool and RoIAlign for keypoints.

Small:    maskline-train ablate table_6 --data out/figures --out out/ablations --init demo/base
Full:     torchrun --nproc-per-node 8 -m maskline_train.cli ablate table_6 --recipe keypoint_rcnn_r50_fpn
              --data COCO --train-split train2017 --val-split val2017 --out runs/ablations --init resnet50.pth
Hardware: small, a CPU core and 2 GB of memory; full, the 8 GPUs of the paper (with fewer, add --total-batch).
Time:     small, in docs/ablations.md; full, the paper gives none; not measured by us.
"""

from maskline_train.paper.table import Row, Table, chain, edit, published, without_masks

TABLE = Table(
    title="Table 6: RoI operators for keypoints",
    setting="ResNet-50-FPN, COCO trainval35k, minival, person",
    finding="RoIAlign gains 4.4 points of keypoint AP over RoIPool, though the finest stride is 4.",
    kinds=("keypoint",),
    small="ablation_small_figures",
    full="keypoint_rcnn_r50_fpn",
    rows=(
        Row("RoIPool", "P64", chain(without_masks, edit("roi_align", mode="pool")), published(keypoint_AP=59.8)),
        Row("RoIAlign", "P64", chain(without_masks, edit("roi_align", mode="align_avg")), published(keypoint_AP=64.2)),
    ),
)
