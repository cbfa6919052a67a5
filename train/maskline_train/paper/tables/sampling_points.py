"""Section 3: "results are not sensitive to the exact sampling locations, or how many points are sampled".

Small:    maskline-train ablate sampling_points --data out/digits --out out/ablations --init demo/base
Full:     torchrun --nproc-per-node 8 -m maskline_train.cli ablate sampling_points --recipe mask_rcnn_r50_c4
              --data COCO --train-split train2017 --val-split val2017 --out runs/ablations --init resnet50.pth
Hardware: small, a CPU core and 2 GB of memory; full, the 8 GPUs of the paper (with fewer, add --total-batch).
Time:     small, in docs/ablations.md; full, the paper gives none; not measured by us.
"""

from maskline_train.paper.table import Row, Table, edit

TABLE = Table(
    title="Sampling points of RoIAlign (section 3)",
    setting="the text gives no figures",
    finding="As long as nothing is quantised, the number of sampling points does not matter.",
    kinds=("mask",),
    full="mask_rcnn_r50_c4",
    rows=(
        Row("1 point a bin", "P13", edit("roi_align", sampling_ratio=1), {}),
        Row("2 x 2 points a bin", "P13", edit("roi_align", sampling_ratio=2), {}),
        Row("adaptive", "P13", edit("roi_align", sampling_ratio=0), {}),
    ),
)
