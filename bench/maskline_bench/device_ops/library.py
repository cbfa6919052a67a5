"""The ops of libmaskline_cuda.so on torch tensors: device pointers, torch's current stream, workspace given once.

Letters: B images, L levels, R boxes an image, D detections an image, C channels, P pooled side, M mask side.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from maskline_host import classwise_nms, mask_rle, proposal_nms, roi_align
from maskline_train.model.ops.kernels import Kernels

from maskline_bench.errors import refusals_told

EMULATOR_FILE = "libmaskline_simt.so"

Run = Callable[[], None]


class DeviceOps:
    """Each method makes outputs and workspace of a call once, and returns it as a function that launches it."""

    def __init__(self, file: Path) -> None:
        """Load a library: the GPU's, or the emulator's for tensors on the CPU.

        Raises:
            BenchmarkError: it is not there, not for this machine or of another build.
        """
        with refusals_told():
            self._kernels = Kernels(file)

    def roi_align(
        self, features: Sequence[torch.Tensor], boxes: torch.Tensor, strides: Sequence[int], side: int, hwc8: bool
    ) -> tuple[Run, torch.Tensor]:
        """MultiscaleRoIAlign, 2 x 2 points, aligned, average.

        Args:
            features: L tensors [B,C,Hi,Wi], or [B,Hi,Wi,C] with C a multiple of 8 for `hwc8`.
            boxes: [B,R,4] float32.
            strides: px a cell.
            side: P.
            hwc8: channels last.

        Returns:
            The call and its output, [B*R,C,P,P] or [B*R,P,P,C].
        """
        batch, count = boxes.shape[:2]
        channels = features[0].shape[3 if hwc8 else 1]
        rows = 1 if hwc8 else 2
        cells = [(feature.shape[rows], feature.shape[rows + 1]) for feature in features]
        attributes = roi_align.make_attributes(strides, 224.0, 4, side, 2, aligned=True, mode="align_avg")
        shape = roi_align.make_shape(_name(features[0]), hwc8, batch, count, channels, cells)
        size = (batch * count, side, side, channels) if hwc8 else (batch * count, channels, side, side)
        out = torch.empty(size, dtype=features[0].dtype, device=boxes.device)
        config = roi_align.Config(attributes=attributes, shape=shape)
        return self._call("multiscale_roi_align", config, [features, boxes, None, out]), out

    def roi_align_backward(
        self,
        pooled: torch.Tensor,
        boxes: torch.Tensor,
        strides: Sequence[int],
        cells: Sequence[tuple[int, int]],
        hwc8: bool,
        deterministic: bool,
    ) -> tuple[Run, list[torch.Tensor]]:
        """The gradient of the features of `roi_align`.

        Args:
            pooled: gradient of the pooled features, [B*R,C,P,P], or [B*R,P,P,C] for `hwc8`.
            boxes: [B,R,4] float32.
            strides: px a cell.
            cells: Hi, Wi.
            hwc8: channels last.
            deterministic: the variant that gives the same bytes each time.

        Returns:
            The call, which clears the gradients first, and they: float32 [B,C,Hi,Wi] or [B,Hi,Wi,C].
        """
        batch, count = boxes.shape[:2]
        side, channels = pooled.shape[2], pooled.shape[3 if hwc8 else 1]
        attributes = roi_align.make_attributes(strides, 224.0, 4, side, 2, aligned=True, mode="align_avg")
        shape = roi_align.make_shape(_name(pooled), hwc8, batch, count, channels, cells)
        sizes = [(batch, *level, channels) if hwc8 else (batch, channels, *level) for level in cells]
        gradients = [torch.empty(size, device=boxes.device) for size in sizes]
        config = roi_align.BackwardConfig(attributes=attributes, shape=shape, deterministic=int(deterministic))
        arguments = [None, pooled, boxes, None, gradients]  # only maxima need features
        add = self._call("multiscale_roi_align_backward", config, arguments)

        def run() -> None:
            for gradient in gradients:
                gradient.zero_()
            add()

        return run, gradients

    def proposal_nms(
        self, op: proposal_nms.ProposalNMS, info: torch.Tensor, logits: Sequence[torch.Tensor], deltas: Sequence[Any]
    ) -> tuple[Run, tuple[torch.Tensor, torch.Tensor]]:
        """ProposalNMS; returns the call, proposals [B,R,4] and their number [B]."""
        config = proposal_nms.config_of(op, len(info), [(level.shape[2], level.shape[3]) for level in logits])
        proposals = torch.empty((len(info), op.max_proposals, 4), device=info.device)
        number = torch.empty(len(info), dtype=torch.int32, device=info.device)
        arguments = [info, logits, deltas, proposals, number]
        arguments.append(self._workspace("proposal_nms", config, info.device))
        return self._call("proposal_nms", config, arguments), (proposals, number)

    def classwise_nms(
        self, op: classwise_nms.ClasswiseNMS, inputs: Sequence[torch.Tensor]
    ) -> tuple[Run, tuple[torch.Tensor, ...]]:
        """ClasswiseNMS of class_logits, box_deltas, proposals, num_proposals, image_info.

        Returns the call, and boxes, scores, labels, num_detections.
        """
        batch, rows = inputs[2].shape[:2]
        where = inputs[0].device
        config = classwise_nms.config_of(op, batch, rows)
        shape = (batch, op.max_detections)
        out = (
            torch.empty((*shape, 4), device=where),
            torch.empty(shape, device=where),
            torch.empty(shape, dtype=torch.int32, device=where),
            torch.empty((batch, 1), dtype=torch.int32, device=where),
        )
        workspace = self._workspace("classwise_nms", config, where)
        return self._call("classwise_nms", config, [*inputs, *out, workspace]), out

    def mask_rle(self, inputs: Sequence[torch.Tensor], max_counts: int) -> tuple[Run, tuple[torch.Tensor, ...]]:
        """MaskRLE of masks, boxes, num_detections, image_info; returns the call, and counts and num_counts."""
        batch, detections, side = inputs[0].shape[:3]
        where = inputs[0].device
        counts = torch.empty((batch, detections, max_counts), dtype=torch.int32, device=where)
        number = torch.empty((batch, detections), dtype=torch.int32, device=where)
        config = mask_rle.config_of(batch, detections, side, max_counts, _name(inputs[0]))
        return self._call("mask_rle", config, [*inputs, counts, number, None]), (counts, number)  # without boxes

    def _workspace(self, name: str, config: ctypes.Structure, where: torch.device) -> torch.Tensor:
        with refusals_told():
            return self._kernels.workspace(name, config, where)

    def _call(self, name: str, config: ctypes.Structure, arguments: list[Any]) -> Run:
        where = next(argument.device for argument in arguments if isinstance(argument, torch.Tensor))

        def run() -> None:
            with refusals_told():
                self._kernels.call(name, config, arguments, where)

        return run


def _name(tensor: torch.Tensor) -> str:
    """Of its type, as the C structs' makers take it."""
    return str(tensor.dtype).removeprefix("torch.")
