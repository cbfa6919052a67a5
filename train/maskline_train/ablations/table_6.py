"""Table 6: RoIPool and RoIAlign for keypoints.

Command: maskline-train ablate table_6 --recipe figures_keypoints --data out/figures --annotations person_keypoints
             --out out/ablations --init demo/base
"""

from maskline_train.ablation import Row, Table, edit, published

TABLE = Table(
    title="Table 6: RoI operators for keypoints",
    setting="ResNet-50-FPN, COCO trainval35k, minival, person",
    finding="RoIAlign gains 4.4 points of keypoint AP over RoIPool, though the finest stride is 4.",
    kinds=("keypoint",),
    rows=(
        Row("RoIPool", "P64", edit("roi_align", mode="pool"), published(keypoint_AP=59.8)),
        Row("RoIAlign", "P64", edit("roi_align", mode="align_avg"), published(keypoint_AP=64.2)),
    ),
)
