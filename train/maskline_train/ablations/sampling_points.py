"""Section 3: "results are not sensitive to the exact sampling locations, or how many points are sampled"."""

from maskline_train.ablation import Row, Table, edit

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
