"""Anchors whose shapes overlap the objects' best."""

from __future__ import annotations

import numpy as np

from maskline_train.new.choices.choice import Choice
from maskline_train.new.survey import Floats, Survey
from maskline_train.spec import AnchorSpec

_FINEST_PX = (8.0, 16.0, 32.0)  # of the finest level; each coarser level's are twice as large
_RATIOS = ((0.5, 1.0, 2.0), (0.25, 0.5, 1.0, 2.0, 4.0))
# What another set has to overlap the objects more by, in the mean: the RPN of the start has learned with its own, and
# with another number of them its last layers start anew. Coins that a picture's edge cuts overlap long anchors a little
# more, and are found without them (docs/data/your_data.md).
_WORTH_IT = 0.1
_MOST_OBJECTS = 20_000  # looked at


def anchor_choices(found: Survey, scales: Floats, spec: AnchorSpec, num_levels: int) -> list[Choice]:
    """Sizes and ratios.

    Args:
        found: the objects.
        scales: [N] by how much each image is enlarged for the network.
        spec: of the network that training starts from.
        num_levels: that anchors are on, each with its own size.
    """
    if spec.cells_px is not None:  # listed one by one, of a network that came from elsewhere
        return []
    boxes = (found.boxes * scales[found.image_of, None])[:: max(1, len(found.boxes) // _MOST_OBJECTS)]
    own = _overlap(boxes, spec.sizes_px, spec.aspect_ratios)
    best, sizes, ratios = own, spec.sizes_px, spec.aspect_ratios
    for finest in _FINEST_PX if len(spec.sizes_px) == num_levels == 5 else ():
        for shape in _RATIOS:
            other = tuple(finest * 2.0**level for level in range(num_levels))
            overlap = _overlap(boxes, other, shape)
            if overlap > max(best, own + _WORTH_IT):
                best, sizes, ratios = overlap, other, shape
    reason = f"The best anchor of an object overlaps it by {own:.2f} (IoU, in the mean, centres together)"
    if (sizes, ratios) == (spec.sizes_px, spec.aspect_ratios):
        reason += "; those of the start are kept, which its RPN knows."
    else:
        reason = f"{reason} with those of the start, by {best:.2f} with these."
    return [Choice("model.anchors.sizes_px", sizes, reason), Choice("model.anchors.aspect_ratios", ratios, "")]


def _overlap(boxes: Floats, sizes: tuple[float, ...], ratios: tuple[float, ...]) -> float:
    """The mean over boxes [G, 2] (height, width) of the best IoU with an anchor of the same centre."""
    root = np.sqrt(np.array(ratios))
    shapes = np.stack([np.outer(sizes, root).ravel(), np.outer(sizes, 1 / root).ravel()], axis=1)
    common = np.minimum(boxes[:, None], shapes[None]).prod(axis=2)
    union = boxes.prod(axis=1)[:, None] + shapes.prod(axis=1)[None] - common
    return float((common / union).max(axis=1).mean())
