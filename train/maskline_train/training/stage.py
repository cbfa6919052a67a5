"""A stage of a training that is not end to end: the region proposal network alone, or the heads alone.

Letters: B images, R proposals an image.
Ref: paper section 3.1: "RPN is trained separately and does not share features with Mask R-CNN, unless specified";
Faster R-CNN (Ren et al. 2015), section 3.2, for the four steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from maskline_train.ground_truth import GroundTruth
from maskline_train.model.losses import averages
from maskline_train.model.mask_rcnn import Detections, MaskRCNN, keys_for, truth_for
from maskline_train.target import Target

TRUNK = "backbone"
RPN = "rpn_head"
HEADS = ("res5", "box_head", "mask_head", "keypoint_head")


@dataclasses.dataclass(frozen=True)
class Stage:
    """What trains, and whose proposals the heads read.

    Attributes:
        part: the region proposal network, or the heads.
        trunk_trains: the backbone learns with it; otherwise it stays bit for bit what it was, norm statistics included.
        proposer: for heads: another network, whose proposals are used; None: their own, from the trunk they share.
    """

    part: Literal["rpn", "heads"]
    trunk_trains: bool
    proposer: MaskRCNN | None = None

    @property
    def evaluates(self) -> bool:
        """Whether detections can be scored after it."""
        return self.part == "heads"

    def freeze(self, model: MaskRCNN) -> None:
        """Leave gradients to what trains; what the backbone itself keeps fixed stays fixed."""
        trained = (RPN,) if self.part == "rpn" else HEADS
        if self.trunk_trains:
            trained = (*trained, TRUNK)
        for name, parameter in model.named_parameters():
            if name.split(".")[0] not in trained:
                parameter.requires_grad_(False)

    def prepare(self, model: MaskRCNN) -> str:
        """Give the model the proposer's RPN head, for the stage after this to start from; returns a line's rest."""
        if self.proposer is None:
            return ""
        model.rpn_head.load_state_dict(self.proposer.rpn_head.state_dict())
        return "; proposals are those of another network"

    def network(self, model: MaskRCNN) -> nn.Module:
        """The module that is called as the model is, and gives the losses of this stage alone."""
        if self.part == "rpn":
            return _RPNAlone(model, self.trunk_trains)
        return _HeadsAlone(model, self.trunk_trains, self.proposer)

    def detect(self, model: MaskRCNN) -> Callable[[Tensor, Tensor], Detections] | None:
        """How objects are found after this stage; None: as the model finds them."""
        return None if self.proposer is None else detect_with(self.proposer, model)


def detect_with(proposer: MaskRCNN, model: MaskRCNN) -> Callable[[Tensor, Tensor], Detections]:
    """`model.detect` on the proposals of another network: what training in stages without shared features gives.

    Args:
        proposer: in evaluation mode, on the device of the model.
        model: whose backbone and heads are used.
    """

    @torch.no_grad()
    def detect(canvas: Tensor, image_info: Tensor) -> Detections:
        logits, deltas = proposer.rpn_head(proposer.backbone(canvas, image_info))
        proposals, num_proposals = proposer.propose(logits, deltas, image_info)
        return model.detect_in(model.backbone(canvas, image_info), proposals, num_proposals, image_info)

    return detect


class _Part(nn.Module):
    """A part of a model with its trunk."""

    def __init__(self, model: MaskRCNN, trunk_trains: bool) -> None:
        super().__init__()
        self.model = model
        self.trunk_trains = trunk_trains

    def features(self, canvas: Tensor, image_info: Tensor) -> list[Tensor]:
        """Of the trunk; where it does not train, its batch norms keep their statistics."""
        if self.trunk_trains:
            return self.model.backbone(canvas, image_info)  # type: ignore[no-any-return]
        self.model.backbone.eval()
        with torch.no_grad():
            return self.model.backbone(canvas, image_info)  # type: ignore[no-any-return]


class _RPNAlone(_Part):
    """The losses of the region proposal network."""

    def forward(
        self,
        canvas: Tensor,
        image_info: Tensor,
        targets: GroundTruth | Sequence[Target],
        keys: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """As `MaskRCNN.forward`: rpn_objectness and rpn_box."""
        truth = truth_for(canvas, targets, self.model.spec)
        logits, deltas = self.model.rpn_head(self.features(canvas, image_info))
        terms = self.model.rpn_losses(logits, deltas, truth, keys_for(canvas, keys))
        return averages(terms, over_processes=self.training)


class _HeadsAlone(_Part):
    """The losses of the heads."""

    def __init__(self, model: MaskRCNN, trunk_trains: bool, proposer: MaskRCNN | None) -> None:
        super().__init__(model, trunk_trains)
        self.proposer = () if proposer is None else (proposer,)  # a tuple hides it: it is no part of what trains

    def forward(
        self,
        canvas: Tensor,
        image_info: Tensor,
        targets: GroundTruth | Sequence[Target],
        keys: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """As `MaskRCNN.forward`: classifier, box, and mask and keypoint where there are such branches."""
        truth = truth_for(canvas, targets, self.model.spec)
        features = self.features(canvas, image_info)
        with torch.no_grad():
            if self.proposer:
                (other,) = self.proposer
                logits, deltas = other.rpn_head(other.backbone(canvas, image_info))
            else:
                logits, deltas = self.model.rpn_head(features)
            proposals, num_proposals = self.model.training_proposals(logits, deltas, image_info)
        terms = self.model.head_losses(features, proposals, num_proposals, truth, keys_for(canvas, keys))
        return averages(terms, over_processes=self.training)
