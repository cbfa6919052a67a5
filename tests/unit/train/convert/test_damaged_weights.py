"""Weights of which one tensor is missing or another: the import is the same, or ends in one line that names it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping

import pytest
import torch
from maskline_train.convert.detectron2.convert import import_detectron2
from maskline_train.convert.options import ImportOptions
from maskline_train.convert.reading.foreign_file import read_foreign
from maskline_train.convert.torchvision_weights import import_from_torchvision
from maskline_train.model.mask_rcnn import MaskRCNN
from support.models import foreign
from torch import Tensor

Weights = dict[str, Tensor]

FIXTURES = ("detectron2/mask_fpn_bgr", "detectron2/keypoint_fpn", "detectron2/mask_c4")
FULL_SIZE = (  # of torchvision and with other heads: names and shapes alone
    "torchvision_maskrcnn_resnet50_fpn_v2",
    "torchvision_keypointrcnn_resnet50_fpn",
    "detectron2_mask_rcnn_R_50_FPN_3x_syncbn",
)
EVERY, EVERY_LONG = 250, 20  # of so many kinds of damage one is done
DAMAGE: dict[str, Callable[[Tensor], Tensor | None]] = {
    "missing": lambda tensor: None,
    "a number": lambda tensor: torch.zeros(()),
    "empty": lambda tensor: tensor.new_zeros(0),
    "a row more": lambda tensor: torch.cat([tensor, tensor[:1]]) if tensor.dim() else torch.zeros(2),
    "flat": lambda tensor: tensor.flatten() if tensor.dim() > 1 else tensor[:, None] if tensor.dim() else tensor[None],
    "integers": lambda tensor: tensor.to(torch.int64),
}


def weights_of(network: str) -> Weights:
    if network in FIXTURES:
        return read_foreign(foreign.checkpoint(network)).tensors
    weights = foreign.weights(network)
    if network.startswith("torchvision"):
        return weights
    return {name: weights[name] for name in weights if not name.endswith("num_batches_tracked")}  # asks for no config


def importer(network: str) -> Callable[[Mapping[str, Tensor]], MaskRCNN]:
    if network in FIXTURES:
        return lambda weights: import_detectron2(weights, foreign.options(network)).model
    if network.startswith("torchvision"):
        return lambda weights: import_from_torchvision(weights, ImportOptions()).model
    return lambda weights: import_detectron2(weights, ImportOptions(zoo=True)).model


def damaged(weights: Weights, every: int) -> Iterator[tuple[str, str, Weights]]:
    """A tensor's name, what was done to it, and all of them."""
    order = list(weights)
    random.Random(0).shuffle(order)
    for index, name in enumerate(order):
        for position, (what, change) in enumerate(DAMAGE.items()):
            if (index + position) % every == 0:
                tensor = change(weights[name])
                others = {other: each for other, each in weights.items() if other != name}
                yield name, what, others if tensor is None else {**others, name: tensor}


@pytest.mark.parametrize("every", [EVERY, pytest.param(EVERY_LONG, marks=pytest.mark.long)])
@pytest.mark.parametrize("network", [*FIXTURES, *FULL_SIZE])
def test_a_damaged_tensor_is_named_in_one_line_or_does_not_matter(network: str, every: int) -> None:
    weights, imported = weights_of(network), importer(network)
    whole = imported(weights).state_dict() if network in FIXTURES else {}
    tried = 0
    for name, what, others in damaged(weights, every):
        tried += 1
        try:
            found = imported(others).state_dict()
        except ValueError as error:
            line = str(error)
            assert re.fullmatch(
                r".*('[a-z]+\d?[._][\w.]+'|weights? [a-z_]+\.[\w.]+|body: got stages of |, the weights have ).*", line
            ), line
        else:
            assert name.endswith("num_batches_tracked"), (name, what)
            assert all(torch.equal(found[key], tensor) for key, tensor in whole.items())
    assert tried >= 2
