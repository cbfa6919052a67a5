"""COCO's person keypoints: their names and the lines of a drawn person.

Ref: https://cocodataset.org/#keypoints-eval.
"""

from __future__ import annotations

from collections.abc import Sequence

KEYPOINTS = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow"),
    *("right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle"),
    "right_ankle",
)
# What a line joins: "skeleton" of the category person in COCO's person_keypoints files.
LINES = (
    *(("left_ankle", "left_knee"), ("left_knee", "left_hip"), ("right_ankle", "right_knee")),
    *(("right_knee", "right_hip"), ("left_hip", "right_hip"), ("left_shoulder", "left_hip")),
    *(("right_shoulder", "right_hip"), ("left_shoulder", "right_shoulder"), ("left_shoulder", "left_elbow")),
    *(("right_shoulder", "right_elbow"), ("left_elbow", "left_wrist"), ("right_elbow", "right_wrist")),
    *(("left_eye", "right_eye"), ("nose", "left_eye"), ("nose", "right_eye"), ("left_eye", "left_ear")),
    *(("right_eye", "right_ear"), ("left_ear", "left_shoulder"), ("right_ear", "right_shoulder")),
)


def lines_between(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Which keypoints a line joins, by index: those of COCO's person where the names are its 17, else none."""
    if set(names) != set(KEYPOINTS):
        return ()
    return tuple((names.index(a), names.index(b)) for a, b in LINES)
