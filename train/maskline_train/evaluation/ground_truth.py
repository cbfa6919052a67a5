"""The data set that a network's answers are scored on."""

from __future__ import annotations

from pathlib import Path

from maskline_train.data.coco import CocoDataset
from maskline_train.spec import ModelSpec

_SHOWN = 5  # class names of a line


def dataset_of(data: Path, split: str, spec: ModelSpec) -> CocoDataset:
    """The images of a COCO-format folder with what a model answers: instances, or persons with keypoints.

    Args:
        data: the folder.
        split: of it.
        spec: of the model.

    Raises:
        OSError, ValueError: it cannot be read, or has other classes than the model.
    """
    dataset = CocoDataset(data, split, "instances" if spec.keypoint_head is None else "person_keypoints")
    if dataset.classes != spec.classes:
        found, expected = (", ".join(names[:_SHOWN]) for names in (dataset.classes, spec.classes))
        raise ValueError(
            f"{dataset.annotation_file}: got the classes {found}, expected the model's: {expected}; score it on data "
            "of its own classes, in their order"
        )
    return dataset
