"""Table 6: RoIPool and RoIAlign for keypoints.

Command: maskline-train ablate table_6 --data out/figures --out out/ablations --init demo/base
"""

from maskline_train.ablation import Row, Table, chain, edit, published, without_masks

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
