"""The list of canvases that an engine would be built for, where a network's pictures keep their own size."""

from __future__ import annotations

import dataclasses

from maskline_train.data.canvas import rounded_up
from maskline_train.spec import CANVAS_MULTIPLE, PreprocessingSpec


def listed_canvases(spec: PreprocessingSpec) -> PreprocessingSpec | None:
    """Landscape, portrait, and one for both, as the baseline's list; None where the spec has a list already."""
    if spec.canvas_multiple is None:
        return None
    short, long = rounded_up([(spec.shorter_side_px, spec.longer_side_px)], CANVAS_MULTIPLE)
    sizes = dict.fromkeys(((short, long), (long, short), (long, long)))
    return dataclasses.replace(spec, canvas_multiple=None, canvases=tuple(sizes))


def shown(spec: PreprocessingSpec) -> str:
    """The list as it is written in config.pbtxt."""
    return ", ".join(f"{height}x{width}" for height, width in spec.canvases)
