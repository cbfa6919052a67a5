"""Start a model from one of other classes, class by class: what a class has learned is kept where its name is the same.

Cityscapes from COCO: 7 of its 8 classes are COCO's, rider alone starts at random (ledger P71).
Ref: paper section "Experiments on Cityscapes": "we initialize the corresponding 7 categories in Cityscapes from a
pre-trained COCO Mask R-CNN model (rider being randomly initialized)".

Letters: K classes of this model, C classes of the weights, M mask side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from maskline_train.checkpoint import PartialLoad, load_matching_weights
from maskline_train.model.mask_rcnn import MaskRCNN


def load_weights_by_class(model: MaskRCNN, weights: Mapping[str, Tensor], classes: Sequence[str]) -> PartialLoad:
    """`load_matching_weights`, but the rows of a class in the last layers go where that class is now.

    The rows of the background are taken over too; those of classes that the weights do not know stay as initialised.

    Args:
        model: changed in place.
        weights: as `read_weights` returns them.
        classes: C names, in the order of the weights' rows.

    Returns:
        What was loaded; tensors of which only some rows were are among `loaded`.

    Raises:
        ValueError: not one weight fits.
    """
    layers = _rows_of_a_class(model)
    load = load_matching_weights(model, {name: value for name, value in weights.items() if name not in layers})
    for name, per_class in layers.items():
        if name not in weights:
            continue
        if _copy_rows(model.state_dict()[name], weights[name], model.spec.classes, classes, per_class):
            load.loaded.append(name)
            load.missing.remove(name)
        else:
            load.reshaped.append(name)
            load.missing.remove(name)
    return load


def _rows_of_a_class(model: MaskRCNN) -> dict[str, int]:
    """The tensors that have rows for each class, and how many a class."""
    layers = {"box_head.class_logits": 1, "box_head.box_deltas": 4}
    mask_head = model.spec.mask_head
    if mask_head is not None and not mask_head.class_agnostic:
        layers["mask_head.mask_logits"] = mask_head.mask_side**2 if mask_head.kind == "mlp" else 1
    return {f"{name}.{part}": count for name, count in layers.items() for part in ("weight", "bias")}


@torch.no_grad()
def _copy_rows(own: Tensor, other: Tensor, classes: Sequence[str], other_classes: Sequence[str], count: int) -> bool:
    """Copy the rows of the common classes, and of the background where both have it; False where shapes do not fit."""
    extra = [len(tensor) - names * count for tensor, names in ((own, len(classes)), (other, len(other_classes)))]
    if own.shape[1:] != other.shape[1:] or extra[0] != extra[1] or extra[0] not in (0, count):
        return False
    places = {name: index for index, name in enumerate(other_classes)}
    pairs = [(index, places[name]) for index, name in enumerate(classes) if name in places]
    if extra[0]:  # the background comes last
        pairs.append((len(classes), len(other_classes)))
    for index, place in pairs:
        own[index * count : (index + 1) * count] = other[place * count : (place + 1) * count]
    return True
