"""COCO's person keypoints: their names, what a mirror swaps, and the OKS constants.

Ref: https://cocodataset.org/#keypoints-eval; pycocotools `Params.kpt_oks_sigmas`.
"""

KEYPOINTS = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow"),
    *("right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle"),
    "right_ankle",
)
FLIP_PAIRS = tuple(
    (name, name.replace("left", "right")) for name in KEYPOINTS if name.startswith("left")
)  # (left_eye, right_eye), ...
_SIGMA_OF_PART = {
    "nose": 0.026,
    "eye": 0.025,
    "ear": 0.035,
    "shoulder": 0.079,
    "elbow": 0.072,
    "wrist": 0.062,
    "hip": 0.107,
    "knee": 0.087,
    "ankle": 0.089,
}
SIGMAS = tuple(_SIGMA_OF_PART[name.split("_")[-1]] for name in KEYPOINTS)
