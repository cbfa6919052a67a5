"""What an import says: what it found, what it took for granted, what it left out and where answers differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Literal

from maskline_train.convert.check.answers import Source
from maskline_train.model.mask_rcnn import MaskRCNN


@dataclasses.dataclass
class Report:
    """Lines for the user, in the order in which they were noticed.

    Attributes:
        found: read in the file or its config.
        assumed: neither file nor config says it; with the reason.
        left_out: in the file, not in the checkpoint.
        differs: where our answers are not the framework's, and by how much.
    """

    found: list[str] = dataclasses.field(default_factory=list)
    assumed: list[str] = dataclasses.field(default_factory=list)
    left_out: list[str] = dataclasses.field(default_factory=list)
    differs: list[str] = dataclasses.field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """All of it, each line with what it is."""
        for field in dataclasses.fields(self):
            for line in getattr(self, field.name):
                yield f"{field.name.replace('_', ' ')}: {line}"


@dataclasses.dataclass(frozen=True)
class Imported:
    """A model in evaluation mode that computes what the framework's does, and what there is to say of it.

    Attributes:
        model: ours.
        report: what there is to say.
        source: builds the framework's own network where that can be done here, as a function of pictures.
        script: whose `--golden-script` writes the framework's answers where it is installed; None: there is none.
    """

    model: MaskRCNN
    report: Report
    source: Callable[[], Source] | None = None
    script: Literal["detectron2", "mmdetection"] | None = None
