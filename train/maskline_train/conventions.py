"""Conventions in which two specs differ though the same weights fit both: the weights compute something else then."""

from __future__ import annotations

from maskline_train.spec import ModelSpec

# Of these parts, the fields that change what weights of the same shapes compute.
_FIELDS: dict[str, tuple[str, ...]] = {
    "preprocessing": ("mean", "std"),
    "backbone": ("stride_in_1x1",),
    "anchors": ("sizes_px", "aspect_ratios", "rounded", "centre_offset", "stride_of_cells", "cells_px"),
    "roi_align": ("sampling_ratio", "aligned", "canonical_size_px", "canonical_level", "mode"),
    "box_head": ("pooled_side", "delta_weights"),
}


def differences(there: ModelSpec, here: ModelSpec) -> list[str]:
    """E.g. `roi_align.sampling_ratio 0 (here 2)`, by the order of the fields; last, `pixel_boxes`."""
    pairs = [
        (f"{part}.{field}", getattr(getattr(there, part), field), getattr(getattr(here, part), field))
        for part, fields in _FIELDS.items()
        for field in fields
    ]
    pairs.append(("pixel_boxes", there.pixel_boxes, here.pixel_boxes))
    return [f"{name} {other} (here {own})" for name, other, own in pairs if other != own]
