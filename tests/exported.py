"""What the session-wide fixture `exported` of tests/parity gives."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from maskline_export.to_typed import type_artifact
from maskline_train.model.mask_rcnn import MaskRCNN


@dataclasses.dataclass(frozen=True)
class Exported:
    """A tiny model and its two artifacts.

    Its class biases make a RoI whose features are all zero a sure object of class 0, so that a test decides by the
    region proposal outputs how many objects an image has.
    """

    model: MaskRCNN
    ort: Path
    dense: Path


def typed_artifacts(exported: Exported, root: Path) -> dict[tuple[str, str], Path]:
    """(bodies, precision) -> folder, for both bodies and both 16-bit types."""
    folders = {}
    for bodies, source in (("ort", exported.ort), ("dense", exported.dense)):
        for precision in ("fp16", "bf16"):
            folders[bodies, precision] = root / f"{bodies}_{precision}"
            type_artifact(source, folders[bodies, precision], precision, None)  # type: ignore[arg-type]
    return folders
