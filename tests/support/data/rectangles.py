"""Ground truth whose masks are their boxes, of whole pixels."""

import torch
from maskline_train.target import Target

NOTHING = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 64, 64, dtype=torch.uint8))


def target_of(*boxes, labels=None, size=(64, 64)) -> Target:
    """A target of boxes (x0, y0, x1, y1), labelled 0, 1, 2, ... unless said otherwise."""
    boxes = torch.tensor(boxes, dtype=torch.float32)
    labels = torch.arange(len(boxes)) if labels is None else torch.tensor(labels)
    masks = torch.zeros(len(boxes), *size, dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y0:y1, x0:x1] = 1
    return Target(boxes, labels, masks)
