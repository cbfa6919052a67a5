"""Boxes of first and last pixels (`ModelSpec.pixel_boxes`), by the arithmetic of all other boxes.

The corners of such a box are the first and the last pixel that it holds, so its width is x1 - x0 + 1. Inside the
network it stands for its edges, x0 y0 x1 + 1 y1 + 1: widths, centres, deltas, overlaps and levels of edges are what the
sources compute of the corners with their "+ 1" and "- 1". Proposals are edges; detections leave as corners.

Two rules are left, in which edges differ from other boxes: the sources clip both corners to pixels of the image, so
that a box beyond it keeps a side of one pixel, and anchors are listed. Neither is a rule of the ops ProposalNMS and
ClasswiseNMS: what they get here are deltas that lead, by their own rules, from their own anchors to the clipped box.

Letters: B images, L levels, A anchors a cell, R proposals an image, N boxes, K foreground classes, Hi Wi level i.
Ref: maskrcnn_benchmark's modeling/box_coder.py, structures/bounding_box.py (`clip_to_image`), and Detectron's
utils/boxes.py (`bbox_transform`, `clip_tiled_boxes`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from maskline_train.model import boxes as box_ops
from maskline_train.model.anchors import flatten_deltas, pyramid_anchors
from maskline_train.spec import AnchorSpec, ModelSpec

# The side of the anchors that ProposalNMS is told: a power of two, by which float32 divides exactly, and so large that
# no clipped box of a canvas up to 62 times as long meets the op's limit for the growth of a side.
_ANCHOR_PX = 1024.0


def edges_of(corners: Tensor) -> Tensor:
    """Edges [..., 4] of boxes [..., 4] by their first and last pixels."""
    return torch.cat([corners[..., :2], corners[..., 2:] + 1.0], dim=-1)


def corners_of(edges: Tensor) -> Tensor:
    """First and last pixels of boxes [..., 4] by their edges; a row of padding, without area, stays zero."""
    corners = torch.cat([edges[..., :2], edges[..., 2:] - 1.0], dim=-1)
    return torch.where((box_ops.areas(edges) > 0)[..., None], corners, torch.zeros_like(corners))


def clip_edges(edges: Tensor, image_info: Tensor) -> Tensor:
    """Edges of boxes whose corners are cut to the pixels of the resized image.

    Args:
        edges: [..., D, 4].
        image_info: [..., 6]; entries 0 and 1 are the resized height and width.

    Returns:
        [..., D, 4]; a box beyond the image keeps its pixel that is nearest, where other boxes lose their area.
    """
    # A list of indices would be a copy from the host, for which a GPU is waited for.
    last = torch.stack([image_info[..., 1], image_info[..., 0]], dim=-1)[..., None, :].to(edges.dtype) - 1.0
    first = torch.minimum(edges[..., :2].clamp(min=0.0), last)
    ends = torch.minimum((edges[..., 2:] - 1.0).clamp(min=0.0), last) + 1.0
    return torch.cat([first, ends], dim=-1)


def anchors_of_op(spec: ModelSpec) -> AnchorSpec:
    """The anchors that the op ProposalNMS is told: the model's own, or, of listed ones, squares of one size."""
    if not spec.pixel_boxes:
        return spec.anchors
    levels = len(spec.backbone.rpn_levels)
    return AnchorSpec(sizes_px=(_ANCHOR_PX,) * (levels * spec.anchors.per_cell(levels)), aspect_ratios=(1.0,))


def deltas_for_proposals(
    logits: Sequence[Tensor], deltas: Sequence[Tensor], image_info: Tensor, spec: ModelSpec
) -> Sequence[Tensor]:
    """Deltas that lead from `anchors_of_op` to the model's boxes, clipped by its rule; else the same.

    Args:
        logits: L tensors [B, A, Hi, Wi], whose sizes count alone.
        deltas: L tensors [B, 4A, Hi, Wi] of the RPN head.
        image_info: [B, 6].
        spec: of the model.

    Returns:
        As `deltas`, float32 for boxes of pixels.
    """
    if not spec.pixel_boxes:
        return deltas
    own = torch.cat(pyramid_anchors(logits, spec.anchors, spec.backbone.rpn_levels[0]))
    corner = torch.cat([_cell_corners(*level) for level in zip(logits, spec.backbone.rpn_levels, strict=True)])
    told = torch.cat([corner - 0.5 * _ANCHOR_PX, corner + 0.5 * _ANCHOR_PX], dim=1)
    flat = torch.cat([flatten_deltas(level) for level in deltas], dim=1)  # [B, N, 4] of all levels
    moved = box_ops.encode_deltas(clip_edges(box_ops.decode_deltas(flat, own), image_info), told)
    by_level = torch.split(moved, [level.shape[1] * level.shape[2] * level.shape[3] for level in logits], dim=1)
    return [
        level.reshape(moved.shape[0], *of_level.shape[2:], -1).permute(0, 3, 1, 2)
        for level, of_level in zip(by_level, logits, strict=True)
    ]


def _cell_corners(logits: Tensor, level: int) -> Tensor:
    """[Hi * Wi * A, 2] x, y: the upper left corner of the cell of each anchor, the centre of the op's."""
    anchors, height, width = logits.shape[1:]
    xs, ys = (torch.arange(n, device=logits.device, dtype=torch.float32) * 2.0**level for n in (width, height))
    corners = torch.stack([xs.expand(height, width), ys[:, None].expand(height, width)], dim=-1)
    return corners[:, :, None].expand(height, width, anchors, 2).reshape(-1, 2)


def deltas_for_detections(box_deltas: Tensor, proposals: Tensor, image_info: Tensor, spec: ModelSpec) -> Tensor:
    """Deltas that lead from the proposals to the model's boxes, clipped by its rule; else the same.

    Args:
        box_deltas: [B * R, 4K] of the box head.
        proposals: [B, R, 4] edges, rows of padding zero.
        image_info: [B, 6].
        spec: of the model.

    Returns:
        [B * R, 4K], float32 for boxes of pixels. Once more through here they stay what they are but for rounding.
    """
    if not spec.pixel_boxes:
        return box_deltas
    weights, num_images = spec.box_head.delta_weights, proposals.shape[0]
    first, ends = proposals[..., :2], proposals[..., 2:]
    # Rows of padding are taken for boxes of a pixel, since nothing is divided by zero then.
    anchors = torch.cat([first, torch.where(ends > first, ends, first + 1.0)], dim=-1)[:, :, None]  # [B, R, 1, 4]
    deltas = box_deltas.reshape(num_images, -1, spec.num_classes, 4)  # [B, R, K, 4]
    boxes = clip_edges(box_ops.decode_deltas(deltas, anchors, weights), image_info[:, None])
    return box_ops.encode_deltas(boxes, anchors, weights).reshape(-1, 4 * spec.num_classes)
