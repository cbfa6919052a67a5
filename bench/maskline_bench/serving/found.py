"""A served answer in the form in which both sides are compared."""

from __future__ import annotations

import numpy as np
from maskline_client.bench.calls import Answer

from maskline_bench.serving.eager import Found


def answer_found(answer: Answer, size: tuple[int, int]) -> Found:
    """The answer of a model with masks, to an image of (height, width) px."""
    assert answer.masks is not None
    masks = [{"size": list(size), "counts": bytes(counts)} for counts in answer.masks]
    return Found(answer.boxes, answer.scores, answer.labels.astype(np.int64), masks)
