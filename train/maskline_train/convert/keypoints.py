"""The keypoints of a network: no framework's weights say what they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maskline_train.convert.options import ImportOptions
from maskline_train.convert.report import Report
from maskline_train.data import coco_person
from maskline_train.spec import KeypointHeadSpec


def keypoint_names(count: int, options: ImportOptions, report: Report) -> tuple[str, ...]:
    """J names; those of COCO's person where there are as many, none for a network without keypoints.

    Args:
        count: J, 0 without such a branch.
        options: the user's word.
        report: to which it is added what was assumed.

    Raises:
        ValueError: no names, or not as many as the weights have keypoints; names for a network that has none.
    """
    if count == 0:
        refuse_keypoints(options)
        return ()
    if options.keypoints is None:
        if count != len(coco_person.KEYPOINTS):
            raise ValueError(f"keypoint names: the weights have {count} keypoints; give their names by --keypoints a,b")
        report.assumed.append(f"the {count} keypoints are those of COCO's person")
        return coco_person.KEYPOINTS
    if len(options.keypoints) != count:
        raise ValueError(f"--keypoints: got {len(options.keypoints)} names, the weights have {count} keypoints")
    return options.keypoints


def refuse_keypoints(options: ImportOptions) -> None:
    """Raise where names are given to a network that has no keypoints."""
    if options.keypoints is not None:
        raise ValueError("--keypoints: the weights have no keypoint branch; leave it out")


def keypoint_head(names: Sequence[str], **fields: Any) -> KeypointHeadSpec:
    """A head of these fields, read as detectron2 and torchvision read it; COCO's 17 names bring pairs and constants."""
    coco = tuple(names) == coco_person.KEYPOINTS
    return KeypointHeadSpec(
        names=tuple(names),
        flip_pairs=coco_person.FLIP_PAIRS if coco else (),
        sigmas=coco_person.SIGMAS if coco else (),
        decoding="bicubic",
        **fields,
    )
