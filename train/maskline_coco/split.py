"""A split of a data set on disk: `ROOT/annotations/KIND_SPLIT.json`, and its images in `ROOT/SPLIT/`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from maskline_coco.annotation_file import ImageRecord, read_instances
from maskline_coco.errors import DataError
from maskline_coco.truth import Categories


@dataclasses.dataclass(frozen=True)
class Split:
    """What the file of a split says, checked; every image file is there.

    Attributes:
        annotation_file: the json.
        image_folder: of the images.
        categories: in class order, which is that of their ids.
        records: the images, in the order of their ids.
    """

    annotation_file: Path
    image_folder: Path
    categories: Categories
    records: Sequence[ImageRecord]


def read_split(root: Path, split: str, annotations: str = "instances") -> Split:
    """Read and check a split; no image is opened.

    Args:
        root: the folder of the data set.
        split: its name.
        annotations: the kind of the file, what stands before the split in its name.

    Raises:
        DataError: a missing folder or file, or a mistake in the json; the text names it and the next step.
    """
    annotation_file = root / "annotations" / f"{annotations}_{split}.json"
    _check_folders(root, split, annotation_file)
    ids, keypoint_names, records = read_instances(annotation_file)
    _check_files(root / split, records, annotation_file)
    categories = Categories(tuple(ids), tuple(ids.values()), keypoint_names)
    return Split(annotation_file, root / split, categories, records)


def _check_folders(root: Path, split: str, annotation_file: Path) -> None:
    for path, kind in ((annotation_file, "file"), (root / split, "folder")):
        if not (path.is_file() if kind == "file" else path.is_dir()):
            prefix = annotation_file.stem.removesuffix(split)
            stems = sorted(file.stem for file in root.glob("annotations/*.json"))
            splits = [stem.removeprefix(prefix) for stem in stems if stem.startswith(prefix)]
            others = [stem for stem in stems if not stem.startswith(prefix)]
            hint = f" (for {', '.join(others)} see --annotations)" if others else ""
            raise DataError(
                f"{path}: no such {kind}; expected ROOT/annotations/{annotation_file.name} and "
                f"ROOT/{split}/; splits with annotations there: {', '.join(splits) or 'none'}{hint}"
            )


def _check_files(folder: Path, records: Sequence[ImageRecord], annotation_file: Path) -> None:
    missing = [record for record in records if not os.path.isfile(folder / record.file_name)]  # noqa: PTH113 -- of a name that is too long, pathlib's raises
    if missing:
        raise DataError(
            f"{folder / missing[0].file_name}: no such image (id {missing[0].id}); {len(missing)} of "
            f"{len(records)} images are missing; put them into {folder} or remove them from {annotation_file}"
        )
