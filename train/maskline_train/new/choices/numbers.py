"""How many proposals, samples and detections an image of this set needs."""

from __future__ import annotations

import math

import numpy as np

from maskline_train.model.sampling import SamplingSpec
from maskline_train.new.choices.choice import Choice
from maskline_train.new.survey import Survey
from maskline_train.spec import ModelSpec

_PROPOSALS_AN_OBJECT = 4
_POSITIVES_AN_OBJECT = 2  # of the sampled RoIs
_MOST_DETECTIONS, _MOST_PROPOSALS, _MOST_SAMPLES = 1000, 2000, 512


def number_choices(found: Survey, model: ModelSpec, sampling: SamplingSpec) -> list[Choice]:
    """Of proposals, sampled RoIs and detections; never fewer than those of the start."""
    counts = found.objects_per_image
    counts = counts[counts > 0]
    middle, many, most = int(np.median(counts)), int(np.quantile(counts, 0.95)), int(counts.max())
    proposals = _at_least(model.proposals.max_proposals, _PROPOSALS_AN_OBJECT * many, 50, _MOST_PROPOSALS)
    reason = f"One picture in twenty has more than {many} objects; {proposals / max(1, many):.3g} for each of them."
    choices = [
        Choice("model.proposals.max_proposals", proposals, reason),
        Choice("model.proposals.pre_nms_per_level", max(model.proposals.pre_nms_per_level, 2 * proposals), ""),
        Choice("sampling.max_proposals", max(sampling.max_proposals, proposals * 3 // 2), ""),
        Choice("sampling.pre_nms_per_level", max(sampling.pre_nms_per_level, 2 * proposals), ""),
    ]
    wanted = math.ceil(_POSITIVES_AN_OBJECT * middle / sampling.roi_positive_fraction)
    samples = _at_least(sampling.roi_samples, wanted, 32, _MOST_SAMPLES)
    reason = (
        f"{round(samples * sampling.roi_positive_fraction)} of them may be positive; the middle picture has {middle} "
        "objects."
    )
    choices.append(Choice("sampling.roi_samples", samples, reason))
    detections = _at_least(model.box_head.max_detections, math.ceil(1.25 * most), 50, _MOST_DETECTIONS)
    reason = (
        f"The fullest picture has {most} objects. The COCO metric counts the best 100 of an image, whatever this is."
    )
    return [*choices, Choice("model.box_head.max_detections", detections, reason)]


def _at_least(own: int, wanted: int, multiple: int, most: int) -> int:
    """The wanted number, rounded up; not below that of the start, nor above `most` unless that is."""
    return max(own, min(most, math.ceil(wanted / multiple) * multiple))
