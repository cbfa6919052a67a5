"""Export twins: the stages of a Mask R-CNN as modules of static rank and fixed-size outputs.

They hold the model's own layers and replace only its data-dependent steps by nodes of our ops, so the model stays free
of export code. They are made for `torch.onnx.export`, not for running: an op node has no value in PyTorch.

Letters: B images, L levels, A anchors a cell, R proposals an image, D detections an image, K foreground classes,
C channels, H W canvas, Hi Wi level i, P pooled side, M mask side.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from maskline_train.model.anchors import cell_anchors
from maskline_train.model.backbone.resnet import fold_norms
from maskline_train.model.heads.keypoint_head import decode_heatmaps
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.model.pixel_boxes import (
    anchors_of_op,
    corners_of,
    deltas_for_detections,
    deltas_for_proposals,
    edges_of,
)
from maskline_train.model.roi.pixel_boxes import boxes_by_level
from maskline_train.spec import ModelSpec
from torch import Tensor, nn

from maskline_export.custom_ops.body import DOMAIN, DOMAIN_VERSION, node_attributes
from maskline_export.custom_ops.classwise_nms import ClasswiseNMS
from maskline_export.custom_ops.multiscale_roi_align import MultiscaleRoIAlign
from maskline_export.custom_ops.proposal_nms import ProposalNMS
from maskline_export.onnx_stages.mask_twins import build_mask_twin

_NO_SIDE = -1000.0  # as log of a box's share of its anchor's side: its exponential is zero in float32 and in float16


def roi_align_op(spec: ModelSpec, pooled_side: int) -> MultiscaleRoIAlign:
    """The attributes of a MultiscaleRoIAlign node of this model; boxes of pixels have a node a level (`_pool`)."""
    align = spec.roi_align
    levels = spec.backbone.roi_levels[:1] if spec.pixel_boxes else spec.backbone.roi_levels
    return MultiscaleRoIAlign(
        strides=tuple(2**level for level in levels),
        canonical_size=align.canonical_size_px,
        canonical_level=align.canonical_level,
        pooled_side=pooled_side,
        sampling_ratio=align.sampling_ratio,
        aligned=align.aligned,
        mode=align.mode,
    )


def proposal_nms_op(spec: ModelSpec) -> ProposalNMS:
    """The attributes of the ProposalNMS node of this model."""
    anchors = anchors_of_op(spec)
    return ProposalNMS(
        strides=tuple(2**level for level in spec.backbone.rpn_levels),
        anchor_sizes=anchors.sizes_px,
        aspect_ratios=anchors.aspect_ratios,
        anchor_rounded=anchors.rounded,
        anchor_centre_offset=anchors.centre_offset,
        pre_nms_per_level=spec.proposals.pre_nms_per_level,
        max_proposals=spec.proposals.max_proposals,
        nms_thresh=spec.proposals.nms_thresh,
        min_side=spec.proposals.min_side_px,
    )


def classwise_nms_op(spec: ModelSpec) -> ClasswiseNMS:
    """The attributes of the ClasswiseNMS node of this model."""
    return ClasswiseNMS(
        num_classes=spec.num_classes,
        score_thresh=spec.box_head.score_thresh,
        nms_thresh=spec.box_head.nms_thresh,
        max_detections=spec.box_head.max_detections,
        delta_weights=spec.box_head.delta_weights,
        min_side=spec.box_head.min_side_px,
    )


class BackboneStage(nn.Module):
    """Canvas to pyramid and region proposal outputs, with the norms folded into the convolutions of a copy."""

    def __init__(self, model: MaskRCNN) -> None:
        super().__init__()
        self.backbone = copy.deepcopy(model.backbone)
        fold_norms(self.backbone.body)
        self.rpn_head = copy.deepcopy(model.rpn_head)
        self.num_features = len(model.spec.backbone.roi_levels)

    def forward(self, canvas: Tensor, image_info: Tensor) -> tuple[Tensor, ...]:
        """What the heads read (P2 to P5, or C4, or C5), then the logits of every level, then their deltas.

        Args:
            canvas: uint8 [B, H, W, 3], H and W multiples of 32.
            image_info: float32 [B, 6].

        Returns:
            features [B, C, Hi, Wi], logits [B, A, Hi, Wi] x L, deltas [B, 4A, Hi, Wi] x L, all float32.
        """
        # The cast comes before the backbone's transpose: TensorRT knows uint8 as an input or output only.
        features = self.backbone(canvas.to(torch.float32), image_info)
        logits, deltas = self.rpn_head(features)
        return (*features[: self.num_features], *logits, *deltas)


class ProposalStage(nn.Module):
    """Pyramid and region proposal outputs to detections: ProposalNMS, RoIAlign, the box head, ClasswiseNMS."""

    def __init__(self, model: MaskRCNN) -> None:
        super().__init__()
        self.res5 = None if model.res5 is None else _folded(model.res5)
        self.box_head = copy.deepcopy(model.box_head)
        self.proposals = proposal_nms_op(model.spec)
        self.spec = model.spec
        self.pool = roi_align_op(model.spec, model.spec.box_head.pooled_side)
        self.detections = classwise_nms_op(model.spec)

    def forward(
        self, features: Sequence[Tensor], logits: Sequence[Tensor], deltas: Sequence[Tensor], image_info: Tensor
    ) -> tuple[Tensor, ...]:
        """Detections of a batch.

        Args:
            features: what the heads read, each [B, C, Hi, Wi].
            logits: of L levels, each [B, A, Hi, Wi].
            deltas: likewise, each [B, 4A, Hi, Wi].
            image_info: float32 [B, 6].

        Returns:
            boxes [B, D, 4] float32, scores [B, D] float32, labels [B, D] int32, num_detections [B, 1] int32.
        """
        deltas = deltas_for_proposals(logits, deltas, image_info, self.spec)
        if self.spec.anchors.stride_of_cells:
            canvas = tuple(2 ** self.spec.backbone.rpn_levels[0] * cells for cells in logits[0].shape[2:])
            deltas = [*deltas[:-1], from_anchors_of_the_stride(deltas[-1], canvas, self.spec)]
        if self.spec.proposals.score_thresh > 0:
            thresh = self.spec.proposals.score_thresh
            deltas = [without_low_scores(*level, thresh) for level in zip(logits, deltas, strict=True)]
        batch, r, d = image_info.shape[0], self.proposals.max_proposals, self.detections.max_detections
        proposals, num_proposals = _node(
            self.proposals, (image_info, *logits, *deltas), (torch.float32, torch.int32), ([batch, r, 4], [batch])
        )
        pooled = _pool(self.pool, self.spec, proposals, features)
        class_logits, box_deltas = self.box_head(pooled if self.res5 is None else self.res5(pooled))
        box_deltas = deltas_for_detections(box_deltas, proposals, image_info, self.spec)
        boxes, *rest = _node(
            self.detections,
            (class_logits, box_deltas, proposals, num_proposals, image_info),
            (torch.float32, torch.float32, torch.int32, torch.int32),
            ([batch, d, 4], [batch, d], [batch, d], [batch, 1]),
        )
        return (corners_of(boxes) if self.spec.pixel_boxes else boxes, *rest)


class MaskStage(nn.Module):
    """Features and detections to the mask of each detection's class.

    Args:
        model: whose mask branch to take.
        skip_padding: run the head on the real detections only. The work then follows their number instead of D, at
            the price of a data-dependent length inside the graph, which TensorRT does not take well.
    """

    def __init__(self, model: MaskRCNN, skip_padding: bool) -> None:
        super().__init__()
        assert model.spec.mask_head is not None
        self.res5 = _folded(model.res5) if model.spec.mask_head.kind == "res5" else None
        self.spec = model.spec
        self.head = build_mask_twin(model)
        self.pool = roi_align_op(model.spec, model.spec.mask_head.pooled_side)
        self.mask_side = model.spec.mask_head.mask_side
        self.skip_padding = skip_padding
        # ONNX Runtime 1.31 fails on these two where there is no detection: residual sums in blocked layout, and a
        # matrix product that broadcasts.
        self.never_empty = self.res5 is not None or model.spec.mask_head.activation == "softmax"

    def forward(self, features: Sequence[Tensor], boxes: Tensor, labels: Tensor) -> Tensor:
        """Masks of a batch.

        Args:
            features: what the heads read, each [B, C, Hi, Wi].
            boxes: float32 [B, D, 4].
            labels: int32 [B, D]; -1 is padding.

        Returns:
            float32 [B, D, M, M] probabilities; zero where the label is -1.
        """
        pooled = _pool_detections(self.pool, self.spec, boxes, features)  # [B*D, C, P, P]
        flat_labels = labels.reshape(-1).to(torch.int64)
        classes = flat_labels.clamp(min=0)
        probabilities = _real_rows(
            flat_labels >= 0,
            (self.mask_side**2,),
            self.skip_padding,
            self.never_empty,
            every=lambda: self._probabilities(pooled, classes),
            some=lambda rows: self._probabilities(pooled[rows], classes[rows]),
        )
        return probabilities.reshape(labels.shape[0], labels.shape[1], self.mask_side, self.mask_side)

    def _probabilities(self, pooled: Tensor, labels: Tensor) -> Tensor:
        """[N, M*M] of RoI features [N, C, P, P], each for its label's class [N]."""
        roi_features = pooled if self.res5 is None else self.res5(pooled)
        probabilities: Tensor = self.head(roi_features, labels)
        return probabilities


class KeypointStage(nn.Module):
    """Features and detections to the keypoints of each detection.

    Args:
        model: whose keypoint branch to take.
        skip_padding: as of `MaskStage`.
    """

    def __init__(self, model: MaskRCNN, skip_padding: bool) -> None:
        super().__init__()
        assert model.spec.keypoint_head is not None
        assert model.keypoint_head is not None
        self.spec = model.spec
        self.head = copy.deepcopy(model.keypoint_head)
        self.pool = roi_align_op(model.spec, model.spec.keypoint_head.pooled_side)
        self.num_keypoints = len(model.spec.keypoint_head.names)
        self.rule = model.spec.keypoint_head.decoding, model.spec.keypoint_head.score
        self.longest_px = model.spec.preprocessing.longer_side_px
        self.skip_padding = skip_padding
        self.never_empty = model.spec.keypoint_head.decoding == "bicubic"  # ONNX Runtime multiplies no empty matrices

    def forward(self, features: Sequence[Tensor], boxes: Tensor, labels: Tensor) -> Tensor:
        """Keypoints of a batch.

        Args:
            features: what the heads read, each [B, C, Hi, Wi].
            boxes: float32 [B, D, 4].
            labels: int32 [B, D]; -1 is padding.

        Returns:
            float32 [B, D, J, 3]: x, y in canvas px and the score; zero where the label is -1.
        """
        pooled = _pool_detections(self.pool, self.spec, boxes, features)  # [B*D, C, P, P]
        real, flat_boxes = labels.reshape(-1) >= 0, boxes.reshape(-1, 4)
        found = _real_rows(
            real,
            (self.num_keypoints, 3),
            self.skip_padding,
            self.never_empty,
            every=lambda: self._keypoints(pooled, flat_boxes),
            some=lambda rows: self._keypoints(pooled[rows], flat_boxes[rows]),
        )
        return found.reshape(labels.shape[0], labels.shape[1], self.num_keypoints, 3)

    def _keypoints(self, pooled: Tensor, boxes: Tensor) -> Tensor:
        logits: Tensor = self.head(pooled)
        return decode_heatmaps(logits, boxes, *self.rule, self.longest_px)


def _real_rows(
    real: Tensor,
    shape: tuple[int, ...],
    skip_padding: bool,
    never_empty: bool,
    every: Callable[[], Tensor],
    some: Callable[[Tensor], Tensor],
) -> Tensor:
    """What a branch says of each detection, [B*D, *shape] float32; zero in the rows of padding.

    Args:
        real: [B*D] bool, False for padding.
        shape: of a row.
        skip_padding: ask `some` and not `every`.
        never_empty: ask `some` for one row more, whatever it is, since it cannot answer for none.
        every: the answers of all rows.
        some: the answers of the rows whose numbers [N] int64 it gets.
    """
    if not skip_padding:
        return torch.where(real[(slice(None), *[None] * len(shape))], every(), 0.0)
    rows = torch.nonzero(real).squeeze(1)
    found = some(torch.cat([rows, rows.new_zeros(1)]))[:-1] if never_empty else some(rows)
    return torch.zeros((real.shape[0], *shape)).index_put((rows,), found)


def _folded(stage: nn.Module | None) -> nn.Module:
    """A copy of the C4 heads' stage with its norms in its convolutions."""
    assert stage is not None
    folded = copy.deepcopy(stage)
    fold_norms(folded)
    return folded


def without_low_scores(logits: Tensor, deltas: Tensor, score_thresh: float) -> Tensor:
    """The deltas of a level, but for those of anchors below the score cut, whose boxes get no width and no height.

    ProposalNMS has no score cut, but in all its implementations a box without area is dropped where the cut belongs:
    behind the choice of the best anchors, before NMS.

    Args:
        logits: [B, A, Hi, Wi].
        deltas: [B, 4A, Hi, Wi], channel 4a + j for delta j of anchor a.
        score_thresh: of the sigmoid of the logits.
    """
    low = (logits.sigmoid() < score_thresh).unsqueeze(2)  # [B, A, 1, Hi, Wi]
    by_anchor = deltas.reshape(-1, logits.shape[1], 4, *logits.shape[2:])  # [B, A, 4, Hi, Wi]
    return torch.where(low, _NO_SIDE, by_anchor).flatten(1, 2)


def from_anchors_of_the_stride(deltas: Tensor, canvas: Sequence[int], spec: ModelSpec) -> Tensor:
    """Deltas of P6 that lead from the anchors of ProposalNMS, 64 px apart, to where its own from theirs lead.

    The centre of a decoded box is dx (or dy) anchor sides from the anchor's, so what the two anchors are apart, in
    sides, is added. Levels before P6 have their stride by either rule. Ref: `AnchorSpec.stride_of_cells`.

    Args:
        deltas: [B, 4A, H6, W6] from anchors `canvas // cells` px apart.
        canvas: (H, W).
        spec: whose anchors.
    """
    levels = spec.backbone.rpn_levels
    offsets = cell_anchors(spec.anchors.sizes_of_level(len(levels) - 1, len(levels)), spec.anchors)
    apart = []
    for axis, size in enumerate(deltas.shape[2:]):
        missing = canvas[axis] // size - 2 ** levels[-1]  # px a cell
        centres = (torch.arange(size, dtype=torch.float32) + spec.anchors.centre_offset) * missing
        sides = offsets[:, 3 - axis] - offsets[:, 1 - axis]  # [A]
        apart.append(centres / sides[:, None])  # [A, H6] down, [A, W6] across
    zero = torch.zeros_like(deltas[0, : len(offsets)])  # [A, H6, W6]
    down, across = apart[0][:, :, None] + zero, apart[1][:, None, :] + zero
    return deltas + torch.stack([across, down, zero, zero], dim=1).flatten(0, 1)  # dx dy dw dh


def _pool_detections(op: MultiscaleRoIAlign, spec: ModelSpec, boxes: Tensor, features: Sequence[Tensor]) -> Tensor:
    """`_pool` of boxes as they leave the proposal stage."""
    return _pool(op, spec, edges_of(boxes) if spec.pixel_boxes else boxes, features)


def _pool(op: MultiscaleRoIAlign, spec: ModelSpec, boxes: Tensor, features: Sequence[Tensor]) -> Tensor:
    """[B*R, C, P, P] by a MultiscaleRoIAlign node, or, of the edges of boxes of pixels, by one for each level."""
    if not spec.pixel_boxes:
        return _pool_node(op, boxes, features)
    levels = boxes_by_level(boxes, spec.backbone.roi_levels, spec.roi_align)
    pooled = [_pool_node(op, of_level, [feature]) for of_level, feature in zip(levels, features, strict=True)]
    return functools.reduce(torch.add, pooled)


def _pool_node(op: MultiscaleRoIAlign, boxes: Tensor, features: Sequence[Tensor]) -> Tensor:
    """A MultiscaleRoIAlign node: [B*R, C, P, P]."""
    side = op.pooled_side
    shape = [boxes.shape[0] * boxes.shape[1], features[0].shape[1], side, side]
    return _node(op, (boxes, *features), (features[0].dtype,), (shape,))[0]


def _node(
    op: ProposalNMS | MultiscaleRoIAlign | ClasswiseNMS,
    inputs: Sequence[Tensor],
    dtypes: Sequence[torch.dtype],
    shapes: Sequence[Sequence[Any]],
) -> Sequence[Tensor]:
    """A node of our domain, named like the class of its attributes, in the graph that is being exported."""
    return torch.onnx.ops.symbolic_multi_out(
        f"{DOMAIN}::{type(op).__name__}",
        inputs,
        dict(node_attributes(op)),
        dtypes=dtypes,
        shapes=shapes,
        version=DOMAIN_VERSION,
    )
