"""ProposalNMS on the host: from the outputs of the region proposal network to a fixed number of proposals.

Letters: B images, L levels, A anchors a cell, Hi Wi level i, T candidates a level, R proposals an image.
"""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from . import library

Array = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class ProposalNMS:
    """Attributes of the op; `README.md` of plugins/proposal_nms has their ranges."""

    strides: tuple[int, ...]  # px, L
    anchor_sizes: tuple[float, ...]  # px, dealt out over the levels, finest first, the same number each
    aspect_ratios: tuple[float, ...]  # height / width
    anchor_rounded: bool  # corner offsets rounded to whole px, half to even
    anchor_centre_offset: float  # in strides
    pre_nms_per_level: int  # T
    max_proposals: int  # R
    nms_thresh: float
    min_side: float  # px

    @property
    def anchors_per_cell(self) -> int:
        """A: every size of a level with every ratio, by size, then by ratio."""
        return len(self.anchor_sizes) // max(len(self.strides), 1) * len(self.aspect_ratios)


class Config(library.Config):
    """`MasklineProposalNMS` of plugins/proposal_nms/c_config.h; made by `config_of`, which keeps its arrays alive."""

    _fields_ = (
        ("batch", ctypes.c_int32),
        ("levels", ctypes.c_int32),
        ("num_sizes", ctypes.c_int32),
        ("num_ratios", ctypes.c_int32),
        ("anchor_rounded", ctypes.c_int32),
        ("pre_nms_per_level", ctypes.c_int32),
        ("max_proposals", ctypes.c_int32),
        ("anchor_centre_offset", ctypes.c_float),
        ("nms_thresh", ctypes.c_float),
        ("min_side", ctypes.c_float),
        ("heights", ctypes.POINTER(ctypes.c_int32)),
        ("widths", ctypes.POINTER(ctypes.c_int32)),
        ("strides", ctypes.POINTER(ctypes.c_int32)),
        ("anchor_sizes", ctypes.POINTER(ctypes.c_float)),
        ("aspect_ratios", ctypes.POINTER(ctypes.c_float)),
    )


def config_of(op: ProposalNMS, batch: int, sizes: Sequence[tuple[int, int]]) -> Config:
    """The C struct of a call: `sizes` are (Hi, Wi), one a level."""
    levels, sizes_px, ratios = len(op.strides), op.anchor_sizes, op.aspect_ratios
    ints = ctypes.c_int32 * levels
    return Config(
        batch=batch,
        levels=levels,
        num_sizes=len(sizes_px),
        num_ratios=len(ratios),
        anchor_rounded=op.anchor_rounded,
        pre_nms_per_level=op.pre_nms_per_level,
        max_proposals=op.max_proposals,
        anchor_centre_offset=op.anchor_centre_offset,
        nms_thresh=op.nms_thresh,
        min_side=op.min_side,
        heights=ints(*(height for height, _ in sizes)),
        widths=ints(*(width for _, width in sizes)),
        strides=ints(*op.strides),
        anchor_sizes=(ctypes.c_float * len(sizes_px))(*sizes_px),
        aspect_ratios=(ctypes.c_float * len(ratios))(*ratios),
    )


def addresses(arrays: Sequence[npt.NDArray[np.float32]]) -> ctypes.Array[ctypes.c_void_p]:
    """The arrays' addresses as the C interface takes them; the caller keeps the arrays alive."""
    return (ctypes.c_void_p * len(arrays))(*(library.pointer(array).value for array in arrays))


def proposal_nms(
    op: ProposalNMS,
    image_info: npt.ArrayLike,
    logits: Sequence[npt.ArrayLike],
    deltas: Sequence[npt.ArrayLike],
    threads: int = 0,
) -> tuple[Array, npt.NDArray[np.int32]]:
    """Proposals of every image.

    The best T anchors of each level by logit (ties: the lower index in the order y, x, a), decoded, clipped to the
    resized image, those with a side below `min_side` dropped, greedy NMS a level, then the best R of all levels by
    logit (ties: the lower level). A NaN logit is never chosen; a box with a NaN coordinate is dropped.

    Args:
        op: attributes.
        image_info: [B, 6] float32, resized height and width first.
        logits: L arrays [B, A, Hi, Wi] float32.
        deltas: L arrays [B, 4A, Hi, Wi] float32, channel 4a+j: delta j (dx dy dw dh) of anchor a.
        threads: at most so many; 0: as many as the process may run on, 16 at most.

    Returns:
        proposals [B, R, 4] float32 xyxy px best first, zeros past the count; num_proposals [B] int32.

    Raises:
        HostLibraryError: the library is missing, or an attribute or shape is wrong.

    Ref: Mask R-CNN 3.1, FPN paper 4.1; docs/architecture.md, "Custom ops".
    """
    info = library.as_array(image_info, np.float32, "image_info", (None, 6))
    batch, anchors = len(info), op.anchors_per_cell
    if not len(logits) == len(deltas) == len(op.strides):
        raise library.HostLibraryError(
            f"levels: got {len(logits)} logits and {len(deltas)} deltas, expected one of each a stride "
            f"({len(op.strides)})"
        )
    maps = [
        library.as_array(level, np.float32, f"logits_{i}", (batch, anchors, None, None))
        for i, level in enumerate(logits)
    ]
    shifts = [
        library.as_array(level, np.float32, f"deltas_{i}", (batch, 4 * anchors, *maps[i].shape[2:]))
        for i, level in enumerate(deltas)
    ]
    config = config_of(op, batch, [(level.shape[2], level.shape[3]) for level in maps])
    proposals = np.empty((batch, max(op.max_proposals, 0), 4), np.float32)
    num_proposals = np.empty(batch, np.int32)
    library.check(
        library.load().maskline_host_proposal_nms(
            ctypes.byref(config),
            library.pointer(info),
            addresses(maps),
            addresses(shifts),
            library.pointer(proposals),
            library.pointer(num_proposals),
            ctypes.c_int(threads),
        )
    )
    return proposals, num_proposals
