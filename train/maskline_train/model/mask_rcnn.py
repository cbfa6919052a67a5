"""Mask R-CNN: the whole network, with any of the paper's features and heads.

Letters: B images, L levels, A anchors a cell, R proposals an image, D detections an image, N RoIs, K foreground
classes, J keypoints, C channels, P pooled side, H W canvas, Hi Wi level i, M mask side, G ground-truth objects.
Ref: paper section 3; figure 4.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from maskline_train.ground_truth import GroundTruth, batched
from maskline_train.model.anchors import pyramid_anchors
from maskline_train.model.backbone.backbone import Backbone
from maskline_train.model.backbone.norms import BatchNorm, SyncBatchNorm
from maskline_train.model.draws import ANCHORS, ROIS, random_keys
from maskline_train.model.heads.box_head import classwise_nms
from maskline_train.model.heads.build import build_box_head, build_keypoint_head, build_mask_head, build_res5
from maskline_train.model.heads.keypoint_head import decode_heatmaps
from maskline_train.model.heads.mask_head import mask_probabilities
from maskline_train.model.losses import Term, averages, box_terms, keypoint_terms, mask_terms, rpn_terms
from maskline_train.model.pixel_boxes import (
    anchors_of_op,
    corners_of,
    deltas_for_detections,
    deltas_for_proposals,
    edges_of,
)
from maskline_train.model.roi.multiscale import multiscale_roi_align, roi_align_flat
from maskline_train.model.roi.pixel_boxes import boxes_by_level
from maskline_train.model.rpn import RPNHead, proposal_nms
from maskline_train.model.sampling import RoISamples, SamplingSpec, sample_anchors, sample_rois
from maskline_train.model.targets import keypoint_targets, mask_targets
from maskline_train.spec import ModelSpec, ProposalSpec
from maskline_train.target import Target


class Detections(NamedTuple):
    """Detections of a batch, best score first; rows past `num_detections` are zero, label -1.

    Attributes:
        boxes: [B, D, 4] float32 xyxy canvas px; of a spec with `pixel_boxes` first and last pixels.
        scores: [B, D] float32 in 0..1.
        labels: [B, D] int64 in 0..K-1, -1 for padding.
        num_detections: [B] int64.
        masks: [B, D, M, M] float32 in 0..1, probability of the predicted class; None where only boxes were asked for
            or the model has no mask branch.
        keypoints: [B, D, J, 3] float32 x, y canvas px and probability, zero in padding rows; None as for `masks`.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    num_detections: Tensor
    masks: Tensor | None
    keypoints: Tensor | None = None


class MaskRCNN(nn.Module):
    """Mask R-CNN, or Faster R-CNN where the spec names no mask branch, built from a ModelSpec.

    `res5` is the body's fifth stage where it runs on RoIs (C4 features), None elsewhere; `mask_head` and
    `keypoint_head` are None where the spec has none. `forward` returns losses, so that DistributedDataParallel sees
    what it must synchronise; `detect` is inference.
    """

    def __init__(self, spec: ModelSpec, sampling: SamplingSpec = SamplingSpec()) -> None:  # noqa: B008 (frozen)
        super().__init__()
        self.spec = spec
        self.sampling = sampling
        self.backbone = Backbone(spec.backbone, spec.preprocessing)
        num_anchors = spec.anchors.per_cell(len(spec.backbone.rpn_levels))
        self.rpn_head = RPNHead(spec.backbone.feature_channels, num_anchors, spec.rpn_head)
        self.res5 = build_res5(spec)
        self.box_head = build_box_head(spec)
        self.mask_head = build_mask_head(spec)
        self.keypoint_head = build_keypoint_head(spec)

    def forward(
        self,
        canvas: Tensor,
        image_info: Tensor,
        targets: GroundTruth | Sequence[Target],
        keys: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The losses of a batch.

        Args:
            canvas: uint8 [B, H, W, 3] RGB, H and W multiples of `preprocessing.side_multiple`.
            image_info: float32 [B, 6].
            targets: ground truth on the device of the model: of the batch, or one target an image.
            keys: [B, 2] int64, `draws.image_keys`: they decide which anchors and RoIs are sampled; None for some of
                torch's own random numbers.

        Returns:
            Float32 scalars: rpn_objectness, rpn_box, classifier, box, and mask and keypoint where there are such
            branches. In training mode under torch.distributed they are averaged over the samples of all processes,
            which must all call this.

        Raises:
            ValueError: inputs or targets of another shape or dtype; single targets of another range, too.
        """
        _check_inputs(canvas, image_info, self.spec.preprocessing.side_multiple)
        truth = truth_for(canvas, targets, self.spec)
        keys = keys_for(canvas, keys)
        features = self.backbone(canvas, image_info)
        logits, deltas = self.rpn_head(features)
        terms = self.rpn_losses(logits, deltas, truth, keys)
        proposals, num_proposals = self.training_proposals(logits, deltas, image_info)
        terms |= self.head_losses(features, proposals, num_proposals, truth, keys)
        return averages(terms, over_processes=self.training)

    @torch.no_grad()
    def detect(self, canvas: Tensor, image_info: Tensor, masks: bool = True) -> Detections:
        """Find objects. Call `eval()` first where the model has ordinary batch norms.

        Args:
            canvas: uint8 [B, H, W, 3] RGB, H and W multiples of `preprocessing.side_multiple`.
            image_info: float32 [B, 6].
            masks: False leaves the mask and keypoint branches out: box detection alone. Ref: paper section 4.3.

        Returns:
            `Detections`, in canvas pixels.

        Raises:
            ValueError: a canvas or image_info of another shape or dtype.
        """
        _check_inputs(canvas, image_info, self.spec.preprocessing.side_multiple)
        features = self.backbone(canvas, image_info)
        logits, deltas = self.rpn_head(features)
        proposals, num_proposals = self.propose(logits, deltas, image_info)
        proposals = proposals[:, : max(1, int(num_proposals.max()))]  # rows that are padding in every image
        return self.detect_in(features, proposals, num_proposals, image_info, masks)

    @torch.no_grad()
    def detect_in(
        self,
        features: Sequence[Tensor],
        proposals: Tensor,
        num_proposals: Tensor,
        image_info: Tensor,
        masks: bool = True,
    ) -> Detections:
        """The second stage of `detect`: objects among proposals [B, R, 4], of which `num_proposals` [B] count."""
        outputs = self.score_boxes(features, proposals, image_info)
        boxes, scores, labels, num = self.choose_boxes(*outputs, proposals, num_proposals, image_info)
        if not masks:
            return Detections(boxes, scores, labels, num, None)
        of_boxes = self.detect_masks(features, boxes, labels), self.detect_keypoints(features, boxes, labels)
        return Detections(boxes, scores, labels, num, *of_boxes)

    def choose_boxes(
        self, class_logits: Tensor, box_deltas: Tensor, proposals: Tensor, num_proposals: Tensor, image_info: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Boxes, scores, labels and number of the detections; arguments are those of `classwise_nms`."""
        spec = self.spec.box_head
        boxes, scores, labels, num = classwise_nms(class_logits, box_deltas, proposals, num_proposals, image_info, spec)
        return corners_of(boxes) if self.spec.pixel_boxes else boxes, scores, labels, num

    def propose(self, logits: Sequence[Tensor], deltas: Sequence[Tensor], image_info: Tensor) -> tuple[Tensor, Tensor]:
        """Proposals at inference: [B, R, 4] and their number [B] int64. See `proposal_nms`."""
        return self._proposals(logits, deltas, image_info, self.spec.proposals)

    def box_outputs(self, roi_features: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits [N, K + 1] and box deltas [N, 4K] of the box branch's pooled features [N, C, P, P]."""
        return self.box_head(roi_features if self.res5 is None else self.res5(roi_features))  # type: ignore[no-any-return]

    def mask_outputs(self, roi_features: Tensor) -> Tensor:
        """Mask logits [N, mask_head.num_channels(K), M, M] of the mask branch's pooled features [N, C, P, P]."""
        assert self.mask_head is not None
        assert self.spec.mask_head is not None
        if self.res5 is not None and self.spec.mask_head.kind == "res5":
            roi_features = self.res5(roi_features)
        return self.mask_head(roi_features)  # type: ignore[no-any-return]

    def rpn_losses(
        self, logits: Sequence[Tensor], deltas: Sequence[Tensor], truth: GroundTruth, keys: Tensor
    ) -> dict[str, Term]:
        """Losses of the region proposal network, from the outputs of its head."""
        anchors = torch.cat(pyramid_anchors(logits, self.spec.anchors, self.spec.backbone.rpn_levels[0]))
        return rpn_terms(logits, deltas, anchors, sample_anchors(anchors, truth, self.sampling, keys[:, ANCHORS]))

    def training_proposals(
        self, logits: Sequence[Tensor], deltas: Sequence[Tensor], image_info: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Proposals for the training of the heads, more than at inference: [B, R, 4] and their number [B]."""
        counts = dataclasses.replace(
            self.spec.proposals,
            pre_nms_per_level=self.sampling.pre_nms_per_level,
            max_proposals=self.sampling.max_proposals,
        )
        return self._proposals(logits, deltas, image_info, counts)

    def head_losses(
        self,
        features: Sequence[Tensor],
        proposals: Tensor,
        num_proposals: Tensor,
        truth: GroundTruth,
        keys: Tensor,
    ) -> dict[str, Term]:
        """Losses of the heads on RoIs sampled from proposals [B, R, 4], of which `num_proposals` [B] count."""
        rois, positives = sample_rois(
            proposals, num_proposals, truth, self.spec.num_classes, self.sampling, keys[:, ROIS]
        )
        if self._leaves_rows_out(proposals.device):
            rois, positives = rois.only_counted(), positives.only_counted()
        terms = self._box_terms(features, rois, truth)
        terms |= self._mask_terms(features, positives, truth)
        terms |= self._keypoint_terms(features, positives, truth)
        return terms

    def _leaves_rows_out(self, device: torch.device) -> bool:
        """Whether the heads see as many rows as count, in place of a number that never changes.

        A GPU would wait for the number, and a compiled step knows one size; a CPU would compute masks of rows that
        weigh nothing, most of them. Batch statistics of a fifth stage on RoIs have to be those of real RoIs anywhere.
        """
        modules = () if self.res5 is None else self.res5.modules()
        if any(module.training for module in modules if isinstance(module, BatchNorm | SyncBatchNorm)):
            return True
        return device.type == "cpu" and not torch.compiler.is_compiling()

    @torch.no_grad()
    def _proposals(
        self, logits: Sequence[Tensor], deltas: Sequence[Tensor], image_info: Tensor, counts: ProposalSpec
    ) -> tuple[Tensor, Tensor]:
        """`proposal_nms` on this model's levels."""
        deltas = deltas_for_proposals(logits, deltas, image_info, self.spec)
        first_level = self.spec.backbone.rpn_levels[0]
        return proposal_nms(logits, deltas, image_info, anchors_of_op(self.spec), counts, first_level)

    def _box_terms(self, features: Sequence[Tensor], rois: RoISamples, truth: GroundTruth) -> dict[str, Term]:
        """Losses of the box branch."""
        roi_features = self._roi_features(features, rois.boxes, rois.images, self.spec.box_head.pooled_side)
        class_logits, box_deltas = self.box_outputs(roi_features)
        return box_terms(class_logits, box_deltas, rois, truth, self.spec.box_head.delta_weights)

    def _mask_terms(self, features: Sequence[Tensor], rois: RoISamples, truth: GroundTruth) -> dict[str, Term]:
        """Loss of the mask branch, which sees RoIs that may be positive alone; none without such a branch."""
        spec = self.spec.mask_head
        if spec is None:
            return {}
        mask_logits = self.mask_outputs(self._roi_features(features, rois.boxes, rois.images, spec.pooled_side))
        wanted = mask_targets(rois, truth, spec.mask_side, self.spec.roi_align.aligned)
        return mask_terms(mask_logits, rois.labels, wanted, rois.counted, spec)

    def _keypoint_terms(self, features: Sequence[Tensor], rois: RoISamples, truth: GroundTruth) -> dict[str, Term]:
        """Loss of the keypoint branch, which sees positive RoIs with a keypoint in them; none without such a branch."""
        spec = self.spec.keypoint_head
        if spec is None:
            return {}
        assert self.keypoint_head is not None
        cells, counted = keypoint_targets(rois, truth, spec.heatmap_side)
        if self._leaves_rows_out(cells.device):
            rows = counted.any(dim=1)
            rois, cells, counted = rois.only(rows), cells[rows], counted[rows]
        logits = self.keypoint_head(self._roi_features(features, rois.boxes, rois.images, spec.pooled_side))
        return keypoint_terms(logits, cells, counted)

    def _roi_features(self, features: Sequence[Tensor], boxes: Tensor, images: Tensor, pooled_side: int) -> Tensor:
        """[N, C, P, P] of boxes [N, 4] that carry the index of their image; edges where the model's are of pixels."""
        args = (images, self.spec.roi_align, pooled_side, self.spec.backbone.roi_levels[0])
        return self._read(features, boxes, lambda maps, of_maps: roi_align_flat(maps, of_maps, *args))

    def pool_boxes(self, features: Sequence[Tensor], boxes: Tensor, pooled_side: int) -> Tensor:
        """[B * R, C, P, P] of boxes [B, R, 4]; edges where the model's are of pixels, as proposals are."""
        args = (self.spec.roi_align, pooled_side, self.spec.backbone.roi_levels[0])
        return self._read(features, boxes, lambda maps, of_maps: multiscale_roi_align(maps, of_maps, *args))

    def _read(
        self, features: Sequence[Tensor], boxes: Tensor, pool: Callable[[Sequence[Tensor], Tensor], Tensor]
    ) -> Tensor:
        """What `pool` reads for boxes [..., 4]: from all levels at once, or, of boxes of pixels, the sum of each."""
        levels = self.spec.backbone.roi_levels
        maps = features[: len(levels)]  # no box is read from P6
        if not self.spec.pixel_boxes:
            return pool(maps, boxes)
        of_maps = boxes_by_level(boxes, levels, self.spec.roi_align)
        return functools.reduce(torch.add, [pool([one], of_one) for one, of_one in zip(maps, of_maps, strict=True)])

    def score_boxes(self, features: Sequence[Tensor], proposals: Tensor, image_info: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits [B * R, K + 1] and box deltas [B * R, 4K] of proposals [B, R, 4], for `choose_boxes`."""
        pooled = self.pool_boxes(features, proposals, self.spec.box_head.pooled_side)
        class_logits, box_deltas = self.box_outputs(pooled)
        return class_logits, deltas_for_detections(box_deltas, proposals, image_info, self.spec)

    def detect_masks(self, features: Sequence[Tensor], boxes: Tensor, labels: Tensor) -> Tensor | None:
        """Mask branch on the detected boxes alone: [B, D, M, M] probabilities, zero in padding rows."""
        spec = self.spec.mask_head
        if spec is None:
            return None
        masks = boxes.new_zeros((*labels.shape, spec.mask_side, spec.mask_side))
        real = labels >= 0
        images = torch.nonzero(real)[:, 0]
        roi_features = self._roi_features(features, self._edges(boxes[real]), images, spec.pooled_side)
        masks[real] = mask_probabilities(self.mask_outputs(roi_features), labels[real], spec)
        return masks

    def detect_keypoints(self, features: Sequence[Tensor], boxes: Tensor, labels: Tensor) -> Tensor | None:
        """Keypoint branch on the detected boxes alone, of whatever class: [B, D, J, 3], zero in padding rows."""
        spec = self.spec.keypoint_head
        if spec is None:
            return None
        keypoints = boxes.new_zeros((*labels.shape, len(spec.names), 3))
        real = labels >= 0
        heatmaps = self.keypoint_outputs(features, boxes[real], torch.nonzero(real)[:, 0])
        keypoints[real] = decode_heatmaps(heatmaps, boxes[real], spec.decoding, spec.score)
        return keypoints

    def keypoint_outputs(self, features: Sequence[Tensor], boxes: Tensor, images: Tensor) -> Tensor:
        """Heatmap logits [N, J, 4P, 4P] of boxes [N, 4] that carry the index of their image [N]."""
        assert self.keypoint_head is not None
        assert self.spec.keypoint_head is not None
        side = self.spec.keypoint_head.pooled_side
        roi_features = self._roi_features(features, self._edges(boxes), images, side)
        return self.keypoint_head(roi_features)  # type: ignore[no-any-return]

    def _edges(self, boxes: Tensor) -> Tensor:
        """What detected boxes [N, 4] are before they leave."""
        return edges_of(boxes) if self.spec.pixel_boxes else boxes


def keys_for(canvas: Tensor, keys: Tensor | None) -> Tensor:
    """The keys of a batch on its device; made of torch's own random numbers where none are given.

    Raises:
        ValueError: keys of another shape or type.
    """
    if keys is None:
        return random_keys(len(canvas)).to(canvas.device)
    if keys.dtype != torch.int64 or tuple(keys.shape) != (len(canvas), 2):
        raise ValueError(f"keys: got {keys.dtype} {list(keys.shape)}, expected torch.int64 [{len(canvas)}, 2]")
    return keys.to(canvas.device)


def _check_inputs(canvas: Tensor, image_info: Tensor, multiple: int) -> None:
    """Raise ValueError where the two inputs are not what every method of the network expects."""
    if canvas.dtype != torch.uint8 or canvas.dim() != 4 or canvas.shape[3] != 3:
        raise ValueError(f"canvas: got {canvas.dtype} {list(canvas.shape)}, expected torch.uint8 [B, H, W, 3]")
    if canvas.shape[1] % multiple or canvas.shape[2] % multiple:
        raise ValueError(f"canvas: got {canvas.shape[1]} x {canvas.shape[2]}, expected multiples of {multiple}")
    if tuple(image_info.shape) != (canvas.shape[0], 6):
        raise ValueError(f"image_info: got {list(image_info.shape)}, expected [{canvas.shape[0]}, 6]")


def truth_for(canvas: Tensor, targets: GroundTruth | Sequence[Target], spec: ModelSpec) -> GroundTruth:
    """The ground truth of a batch, made from one target an image where that is what was given.

    Numbers of a `GroundTruth` are taken as they are: to read them would be to wait for them.

    Raises:
        ValueError: ground truth of another number or shape; targets with a label out of range or a box without area.
    """
    if targets is None:
        raise ValueError("targets: got None, as a batch of `eval_loader` has it, expected one of `train_loader`")
    if isinstance(targets, GroundTruth):
        if len(targets.boxes) != len(canvas):
            raise ValueError(f"targets: got {len(targets.boxes)}, expected one for each of {len(canvas)} images")
        if spec.keypoint_head is not None:
            found = None if targets.keypoints is None else targets.keypoints.shape[2]
            if found != len(spec.keypoint_head.names):
                raise ValueError(f"targets: got {found} keypoints, expected {len(spec.keypoint_head.names)} an object")
        return targets
    _check_targets(targets, canvas, spec)
    return batched(targets)


def _check_targets(targets: Sequence[Target], canvas: Tensor, spec: ModelSpec) -> None:
    """Raise ValueError where ground truth does not fit the batch."""
    if len(targets) != len(canvas):
        raise ValueError(f"targets: got {len(targets)}, expected one for each of {len(canvas)} images")
    for index, target in enumerate(targets):
        count = len(target.labels)
        shapes = (list(target.boxes.shape), list(target.masks.shape))
        if shapes != ([count, 4], [count, *canvas.shape[1:3]]):
            raise ValueError(
                f"target {index}: got boxes {shapes[0]} and masks {shapes[1]} for {count} labels, "
                f"expected [G, 4] and [G, {canvas.shape[1]}, {canvas.shape[2]}]"
            )
        if count and not 0 <= int(target.labels.min()) <= int(target.labels.max()) < spec.num_classes:
            raise ValueError(
                f"target {index}: got labels {torch.unique(target.labels).tolist()}, expected 0..{spec.num_classes - 1}"
            )
        if spec.keypoint_head is not None:
            found = None if target.keypoints is None else list(target.keypoints.shape)
            wanted = [count, len(spec.keypoint_head.names), 3]
            if found != wanted:
                raise ValueError(f"target {index}: got keypoints {found}, expected {wanted}")
