"""Export twins: the three stages of a Mask R-CNN as modules of static rank and fixed-size outputs.

They hold the model's own layers and replace only its data-dependent steps by nodes of our ops, so the model stays free
of export code. They are made for `torch.onnx.export`, not for running: an op node has no value in PyTorch.

Letters: B images, L levels, A anchors a cell, R proposals an image, D detections an image, K foreground classes,
C channels, H W canvas, Hi Wi level i, P pooled side, M mask side.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from maskline_train.model.fpn import NUM_ROI_LEVELS, STRIDES
from maskline_train.model.mask_head import MaskHead
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.model.resnet import fold_norms
from maskline_train.spec import ModelSpec
from torch import Tensor, nn
from torch.nn.functional import relu

from maskline_export.custom_ops.body import DOMAIN, DOMAIN_VERSION, node_attributes
from maskline_export.custom_ops.classwise_nms import ClasswiseNMS
from maskline_export.custom_ops.multiscale_roi_align import MultiscaleRoIAlign
from maskline_export.custom_ops.proposal_nms import ProposalNMS
from maskline_export.errors import ContractError


def roi_align_op(spec: ModelSpec, pooled_side: int) -> MultiscaleRoIAlign:
    """The attributes of a MultiscaleRoIAlign node of this model."""
    align = spec.roi_align
    return MultiscaleRoIAlign(
        strides=STRIDES[:NUM_ROI_LEVELS],
        canonical_size=align.canonical_size_px,
        canonical_level=align.canonical_level,
        pooled_side=pooled_side,
        sampling_ratio=align.sampling_ratio,
        aligned=align.aligned,
    )


def proposal_nms_op(spec: ModelSpec) -> ProposalNMS:
    """The attributes of the ProposalNMS node of this model."""
    return ProposalNMS(
        strides=STRIDES,
        anchor_sizes=spec.anchors.sizes_px,
        aspect_ratios=spec.anchors.aspect_ratios,
        anchor_rounded=spec.anchors.rounded,
        anchor_centre_offset=spec.anchors.centre_offset,
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

    def forward(self, canvas: Tensor, image_info: Tensor) -> tuple[Tensor, ...]:
        """P2 to P5, then the logits of P2 to P6, then their deltas.

        Args:
            canvas: uint8 [B, H, W, 3], H and W multiples of 32.
            image_info: float32 [B, 6].

        Returns:
            p [B, C, Hi, Wi] x 4, logits [B, A, Hi, Wi] x 5, deltas [B, 4A, Hi, Wi] x 5, all float32.
        """
        # The cast comes before the backbone's transpose: TensorRT knows uint8 as an input or output only.
        features = self.backbone(canvas.to(torch.float32), image_info)
        logits, deltas = self.rpn_head(features)
        return (*features[:NUM_ROI_LEVELS], *logits, *deltas)


class ProposalStage(nn.Module):
    """Pyramid and region proposal outputs to detections: ProposalNMS, RoIAlign, the box head, ClasswiseNMS."""

    def __init__(self, model: MaskRCNN) -> None:
        super().__init__()
        self.box_head = copy.deepcopy(model.box_head)
        self.proposals = proposal_nms_op(model.spec)
        self.pool = roi_align_op(model.spec, model.spec.box_head.pooled_side)
        self.detections = classwise_nms_op(model.spec)

    def forward(
        self, features: Sequence[Tensor], logits: Sequence[Tensor], deltas: Sequence[Tensor], image_info: Tensor
    ) -> tuple[Tensor, ...]:
        """Detections of a batch.

        Args:
            features: P2 to P5, each [B, C, Hi, Wi].
            logits: P2 to P6, each [B, A, Hi, Wi].
            deltas: P2 to P6, each [B, 4A, Hi, Wi].
            image_info: float32 [B, 6].

        Returns:
            boxes [B, D, 4] float32, scores [B, D] float32, labels [B, D] int32, num_detections [B, 1] int32.
        """
        batch, r, d = image_info.shape[0], self.proposals.max_proposals, self.detections.max_detections
        proposals, num_proposals = _node(
            self.proposals, (image_info, *logits, *deltas), (torch.float32, torch.int32), ([batch, r, 4], [batch])
        )
        pooled = _pool(self.pool, proposals, features)
        class_logits, box_deltas = self.box_head(pooled)
        return tuple(
            _node(
                self.detections,
                (class_logits, box_deltas, proposals, num_proposals, image_info),
                (torch.float32, torch.float32, torch.int32, torch.int32),
                ([batch, d, 4], [batch, d], [batch, d], [batch, 1]),
            )
        )


class MaskStage(nn.Module):
    """Pyramid and detections to the mask of each detection's class.

    Only the row of the last 1 x 1 convolution that belongs to the label is computed: 1/K of its work and no
    [N, K, M, M] tensor. The 2 x 2 deconvolution of stride 2 is written as the 1 x 1 convolution to four times the
    channels that it is, one set a corner of the output cell; corners are interleaved at the very end, when they are
    four numbers a cell instead of four times C.

    Args:
        model: whose mask head to take.
        skip_padding: run the head on the real detections only. The work then follows their number instead of D, at
            the price of a data-dependent length inside the graph, which TensorRT does not take well.
    """

    def __init__(self, model: MaskRCNN, skip_padding: bool) -> None:
        super().__init__()
        head, spec = model.mask_head, model.spec.mask_head
        if not isinstance(head, MaskHead) or spec is None or spec.class_agnostic or spec.activation != "sigmoid":
            raise ContractError(
                "mask head: got another than class-specific convolutions with a sigmoid; no stage for it"
            )
        self.convs = copy.deepcopy(head.convs)
        self.corners = _as_convolution(head.upsample)
        self.mask_logits = copy.deepcopy(head.mask_logits)
        self.pool = roi_align_op(model.spec, spec.pooled_side)
        self.mask_side = spec.mask_side
        self.skip_padding = skip_padding

    def forward(self, features: Sequence[Tensor], boxes: Tensor, labels: Tensor) -> Tensor:
        """Masks of a batch.

        Args:
            features: P2 to P5, each [B, C, Hi, Wi].
            boxes: float32 [B, D, 4].
            labels: int32 [B, D]; -1 is padding.

        Returns:
            uint8 [B, D, M, M], probability x 255 rounded; zero where the label is -1.
        """
        pooled = _pool(self.pool, boxes, features)  # [B*D, C, P, P]
        flat_labels = labels.reshape(-1).to(torch.int64)
        if self.skip_padding:
            rows = torch.nonzero(flat_labels >= 0).squeeze(1)  # [N]
            levels = torch.zeros((flat_labels.shape[0], self.mask_side**2))
            levels = levels.index_put((rows,), self._masks_of_labels(pooled[rows], flat_labels[rows]))
        else:
            every = self._masks_of_labels(pooled, flat_labels.clamp(min=0))
            levels = torch.where((flat_labels >= 0).unsqueeze(1), every, 0.0)
        # The cast comes last: TensorRT knows uint8 as an input or output only.
        return levels.reshape(labels.shape[0], labels.shape[1], self.mask_side, self.mask_side).to(torch.uint8)

    def _masks_of_labels(self, pooled: Tensor, labels: Tensor) -> Tensor:
        """Whole numbers 0..255, float [N, M*M], of RoI features [N, C, P, P], each for its label's class [N]."""
        x = pooled
        for conv in self.convs:
            x = relu(conv(x))
        side = x.shape[-1]
        assert self.mask_logits.bias is not None
        x = relu(self.corners(x)).reshape(-1, 4, self.mask_logits.in_channels, side * side)  # [N, 4, C, P*P]
        weights = self.mask_logits.weight.flatten(1)[labels][:, None, None]  # [N, 1, 1, C]
        logits = (weights @ x).squeeze(2).flatten(1) + self.mask_logits.bias[labels].unsqueeze(1)  # [N, 4*P*P]
        cells = logits.reshape(-1, 2, 2, side, side).permute(0, 3, 1, 4, 2)  # [N, P, 2, P, 2]: y, dy, x, dx
        return torch.round(torch.sigmoid(cells.flatten(1)) * 255.0)


def _as_convolution(deconvolution: nn.ConvTranspose2d) -> nn.Conv2d:
    """The 1 x 1 convolution whose channel (dy, dx, c) is what the deconvolution writes to (c, 2y + dy, 2x + dx)."""
    inputs, outputs = deconvolution.in_channels, deconvolution.out_channels
    convolution = nn.Conv2d(inputs, 4 * outputs, 1)
    assert convolution.bias is not None
    assert deconvolution.bias is not None
    with torch.no_grad():
        kernel = deconvolution.weight.permute(2, 3, 1, 0)  # [2, 2, outputs, inputs]
        convolution.weight.copy_(kernel.reshape(4 * outputs, inputs, 1, 1))
        convolution.bias.copy_(deconvolution.bias.repeat(4))
    return convolution


def _pool(op: MultiscaleRoIAlign, boxes: Tensor, features: Sequence[Tensor]) -> Tensor:
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
