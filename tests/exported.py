"""What the session-wide fixture `exported` of tests/parity gives."""

from __future__ import annotations

import dataclasses
from pathlib import Path

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
