"""Parity of an artifact with its checkpoint: PyTorch against ONNX Runtime, stage by stage.

Each stage gets PyTorch's own inputs, so an error shows in the stage that makes it and in no later one; the rows
"detections", "masks, pasted" and "mask area" compare the whole chains.

Letters: D detections an image, R proposals an image, M mask side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from maskline_train.data.canvas import preprocess
from maskline_train.evaluation.evaluate import boxes_at_original_size
from maskline_train.evaluation.matching import match_boxes
from maskline_train.evaluation.paste import Rle, encode_masks
from maskline_train.model.heads.box_head import classwise_nms
from maskline_train.model.mask_rcnn import Detections, MaskRCNN
from maskline_train.model.roi.multiscale import multiscale_roi_align
from pycocotools import mask as coco_mask

from maskline_export.manifest import Manifest
from maskline_export.onnx_file import load_onnx
from maskline_export.onnx_stages import stage_io
from maskline_export.verify.compare import pasted_error
from maskline_export.verify.onnx_runtime import OnnxModel, OnnxPipeline, RawDetections, Tensors
from maskline_export.verify.probes import custom_node, with_outputs, without_node
from maskline_export.verify.rows import SAME_POINT_PX, SAME_PROBABILITY, ParityReport, features_row, make_rows

Pixels = npt.NDArray[np.uint8]


class Verifier:
    """Holds both sides; `add` compares one image more.

    Args:
        model: the checkpoint's model, in evaluation mode.
        artifact: folder of the exported stages.
        manifest: the artifact's manifest.
        threads: ONNX Runtime threads, 0 for all cores.
    """

    def __init__(self, model: MaskRCNN, artifact: Path, manifest: Manifest, threads: int = 0) -> None:
        self.model, self.manifest = model.eval(), manifest
        self.chain = OnnxPipeline(artifact, threads)
        self._backbone = self.chain.stages["backbone"]
        proposal = load_onnx(artifact / "proposal.onnx")
        nms = custom_node(proposal, "ProposalNMS")
        align = custom_node(proposal, "MultiscaleRoIAlign")
        classwise = custom_node(proposal, "ClasswiseNMS")
        self._proposals = OnnxModel(with_outputs(proposal, {"proposals": nms.output[0]}), threads)
        inner = {"class_logits": classwise.input[0], "box_deltas": classwise.input[1]}
        probed = with_outputs(proposal, {"roi_features": align.output[0], **inner})
        types: dict[str, int] = {nms.output[0]: onnx.TensorProto.FLOAT, nms.output[1]: onnx.TensorProto.INT32}
        self._heads = OnnxModel(without_node(probed, nms, types), threads)
        self._proposal_names = tuple(nms.output[:2])
        self._mask: OnnxModel | None = None
        if model.spec.mask_head is not None:
            mask = load_onnx(artifact / "mask.onnx")
            mask_align = custom_node(mask, "MultiscaleRoIAlign")
            self._mask = OnnxModel(with_outputs(mask, {"roi_features": mask_align.output[0]}), threads)
        keypoint = artifact / "keypoint.onnx"
        self._keypoint = None if model.spec.keypoint_head is None else OnnxModel(keypoint, threads)
        self._features = model.spec.backbone.feature_names
        rpn = [tensor.name for tensor in stage_io.rpn_outputs(model.spec)]
        self._rpn_logits, self._rpn_deltas = tuple(rpn[: len(rpn) // 2]), tuple(rpn[len(rpn) // 2 :])
        self.rows = make_rows(model.spec)
        self._area_ratios: list[float] = []
        self.num_images = self.num_detections = 0

    @torch.no_grad()
    def add(self, image: Pixels) -> None:
        """Compare both sides on one RGB image [H, W, 3]."""
        canvas, info = preprocess(image, self.model.spec.preprocessing)
        other, _ = preprocess(image, self.manifest.spec.preprocessing)
        self.rows["canvas"].add(canvas, other)
        canvas_t, info_t = torch.from_numpy(canvas[None]), torch.from_numpy(info[None])
        features = self.model.backbone(canvas_t, info_t)
        logits, deltas = self.model.rpn_head(features)
        tensors: Tensors = {"canvas": canvas[None], "image_info": info[None]}
        self._compare_backbone(tensors, features, logits, deltas)
        tensors |= _named(self._features, features) | _named(self._rpn_logits, logits)
        tensors |= _named(self._rpn_deltas, deltas)
        self._compare_proposals(tensors, features, logits, deltas, info_t)
        detections = self.model.detect(canvas_t, info_t)
        self._compare_masks(tensors, features, detections)
        self._compare_keypoints(tensors, detections)
        self._compare_answers(detections, self.chain.detect(canvas[None], info[None]), info)
        self.num_images += 1

    def report(self) -> ParityReport:
        """The table so far."""
        if self._area_ratios:
            bias = np.mean(self._area_ratios) - 1.0
            self.rows["mask area"].max_error = self.rows["mask area"].p99_error = abs(float(bias))
        return ParityReport(list(self.rows.values()), self.num_images, self.num_detections)

    def _compare_backbone(
        self,
        tensors: Tensors,
        features: list[torch.Tensor],
        logits: list[torch.Tensor],
        deltas: list[torch.Tensor],
    ) -> None:
        out = self._backbone.run(tensors)
        for row, names, values in (
            (features_row(self.model.spec), self._features, features),
            ("RPN logits", self._rpn_logits, logits),
            ("RPN deltas", self._rpn_deltas, deltas),
        ):
            for name, value in _named(names, values).items():
                self.rows[row].add(value, out[name])

    def _compare_proposals(
        self,
        tensors: Tensors,
        features: list[torch.Tensor],
        logits: list[torch.Tensor],
        deltas: list[torch.Tensor],
        info: torch.Tensor,
    ) -> None:
        spec = self.model.spec
        proposals, num = self.model.propose(logits, deltas, info)
        boxes = _boxes(self._proposals.run(tensors)["proposals"])
        self._match("proposals", proposals[0, : int(num[0])].numpy(), boxes, None)
        given = dict(zip(self._proposal_names, (proposals.numpy(), num.numpy().astype(np.int32)), strict=True))
        out = self._heads.run(tensors | given)
        pooled = self._pooled(features, proposals, spec.box_head.pooled_side)
        class_logits, box_deltas = self.model.box_outputs(pooled)
        self.rows["box RoI features"].add(pooled.numpy(), out["roi_features"])
        self.rows["class logits"].add(class_logits.numpy(), out["class_logits"])
        self.rows["box deltas"].add(box_deltas.numpy(), out["box_deltas"])
        reference = classwise_nms(class_logits, box_deltas, proposals, num, info, spec.box_head)
        count = int(reference[3][0])
        labels = reference[2][0, :count].numpy()
        same_class = labels[:, None] == out["labels"][0][None]
        self._match("boxes of the box head", reference[0][0, :count].numpy(), _boxes(out["boxes"]), same_class)

    def _compare_masks(self, tensors: Tensors, features: list[torch.Tensor], reference: Detections) -> None:
        spec = self.model.spec
        if self._mask is None or spec.mask_head is None:
            return
        labels = reference.labels.numpy().astype(np.int32)
        out = self._mask.run(tensors | {"boxes": reference.boxes.numpy(), "labels": labels})
        pooled = self._pooled(features, reference.boxes, spec.mask_head.pooled_side)
        self.rows["mask RoI features"].add(pooled.numpy(), out["roi_features"])
        assert reference.masks is not None
        self.rows["mask probabilities"].add(reference.masks.numpy(), out["masks"])

    def _compare_keypoints(self, tensors: Tensors, reference: Detections) -> None:
        if self._keypoint is None or reference.keypoints is None:
            return
        labels = reference.labels.numpy().astype(np.int32)
        found = self._keypoint.run(tensors | {"boxes": reference.boxes.numpy(), "labels": labels})["keypoints"][0]
        count = int(reference.num_detections[0])
        expected = reference.keypoints[0, :count].numpy()
        points = found[:count].astype(np.float32)
        same = (np.abs(points - expected)[..., :2] <= SAME_POINT_PX).all(axis=2)
        self.rows["keypoints"].add(expected[same, :2], points[same, :2])
        self.rows["keypoint scores"].add(expected[same, 2], points[same, 2])
        self.rows["keypoints"].add_match(float(same.mean()) if same.size else 1.0)

    def _pooled(self, features: list[torch.Tensor], boxes: torch.Tensor, side: int) -> torch.Tensor:
        """RoI features [R, C, P, P] of boxes [1, R, 4]."""
        spec = self.model.spec
        levels = spec.backbone.roi_levels
        return multiscale_roi_align(features[: len(levels)], boxes, spec.roi_align, side, levels[0])

    def _compare_answers(self, reference: Detections, other: RawDetections, info: npt.NDArray[np.float32]) -> None:
        count = int(reference.num_detections[0])
        boxes, labels = reference.boxes[0, :count].numpy(), reference.labels[0, :count].numpy()
        same_class = labels[:, None] == other.labels[0][None]
        partner = self._match("detections", boxes, _boxes(other.boxes), same_class)
        self.num_detections += count
        found = np.flatnonzero(partner >= 0)
        self.rows["scores"].add(reference.scores[0, found].numpy(), other.scores[0, partner[found]])
        if reference.masks is None or other.masks is None:
            return
        masks, size = reference.masks[0, found].numpy(), (int(info[4]), int(info[5]))
        rule = self.model.spec.paste
        ours = boxes_at_original_size(boxes[found], info)
        chosen = partner[found]
        theirs = boxes_at_original_size(other.boxes[0, chosen], info)
        pasted = (
            encode_masks(masks, ours, size, rule),
            encode_masks(masks - np.float32(SAME_PROBABILITY), ours, size, rule),
            encode_masks(masks + np.float32(SAME_PROBABILITY), ours, size, rule),
            encode_masks(other.masks[0, chosen], theirs, size, rule),
        )
        for mask, least, most, found_mask in zip(*pasted, strict=True):
            self._add_pasted(mask, least, most, found_mask)

    def _add_pasted(self, mask: Rle, least: Rle, most: Rle, found: Rle) -> None:
        area, found_area = (int(coco_mask.area(rle)) for rle in (mask, found))
        if area == found_area == 0:
            return
        self.rows["masks, pasted"].add(np.array(0.0), np.array(pasted_error(mask, least, most, found)))
        if area > 0:
            self._area_ratios.append(found_area / area)

    def _match(
        self,
        stage: str,
        boxes: npt.NDArray[np.float32],
        others: npt.NDArray[np.float32],
        allowed: npt.NDArray[np.bool_] | None,
    ) -> npt.NDArray[np.int64]:
        """Pair boxes [N, 4] with others [G, 4] at IoU >= 0.95 and record errors and the share that found a partner."""
        allowed = np.ones((len(boxes), len(others)), bool) if allowed is None else allowed
        partner = match_boxes(boxes, others, allowed, min_iou=0.95)
        found = partner >= 0
        num_others = int((others[:, 2:] > others[:, :2]).all(axis=1).sum())
        self.rows[stage].add(boxes[found], others[partner[found]])
        self.rows[stage].add_match(found.sum() / max(len(boxes), num_others, 1) if max(len(boxes), num_others) else 1.0)
        return partner


def verify(
    model: MaskRCNN,
    artifact: Path,
    manifest: Manifest,
    images: Iterable[Pixels],
    on_image: Callable[[], None] = lambda: None,
    threads: int = 0,
) -> ParityReport:
    """Compare the two sides on some RGB images; `on_image` is called after each."""
    verifier = Verifier(model, artifact, manifest, threads)
    for image in images:
        verifier.add(image)
        on_image()
    return verifier.report()


def _named(names: tuple[str, ...], values: list[torch.Tensor]) -> Tensors:
    return {name: value.numpy() for name, value in zip(names, values, strict=False)}


def _boxes(batch: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """The boxes of the first image, padding rows included (they have no area, so nothing matches them)."""
    boxes: npt.NDArray[np.float32] = batch[0].astype(np.float32)
    return boxes
