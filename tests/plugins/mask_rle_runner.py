"""Runs MaskRLE on one device, and by the oracle: float64 loops over pixels, COCO's own text form.

Letters: B images, D detections an image, M mask side, H W original image.
"""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Sequence
from typing import Any

import device
import numpy as np
import numpy.typing as npt
import ort_runner
import reference
import torch
from maskline_host import mask_rle
from pycocotools import mask as coco_mask

MASK_TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclasses.dataclass(frozen=True)
class Attributes:
    """Of a node."""

    max_counts: int
    paste: str = "aligned"


def info_of(size: tuple[int, int], scale: tuple[float, float] = (1.0, 1.0)) -> list[float]:
    """A row of image_info for an original image of (height, width) and (scale_y, scale_x)."""
    return [size[0] * scale[0], size[1] * scale[1], *scale, *size]


def expected_counts(
    mask: npt.ArrayLike, box: Sequence[float], size: tuple[int, int], paste: str = "aligned"
) -> list[int]:
    """The oracle's answer."""
    return reference.encode_rle(reference.paste_mask(mask, [float(edge) for edge in box], size, paste))


def text_of(counts: Sequence[int], size: tuple[int, int]) -> bytes:
    """COCO's compressed form, by pycocotools."""
    rle = {"size": list(size), "counts": [int(count) for count in counts]}
    return bytes(coco_mask.frPyObjects(rle, *size)["counts"])


def run(
    where: str,
    masks: npt.NDArray[Any],
    boxes: npt.ArrayLike,
    num_detections: npt.ArrayLike,
    info: npt.ArrayLike,
    max_counts: int = 1024,
    *,
    dtype: str = "float32",
    paste: str = "aligned",
    seed: int = 0,
) -> mask_rle.RunLengths:
    """The op's answer; `masks` [B,D,M,M] of any type becomes one of `dtype`; a host takes float32 alone."""
    if where in device.HOSTS:
        with device.host(where):
            return mask_rle.mask_rle(masks.astype(np.float32), boxes, num_detections, info, max_counts, paste=paste)
    if where.startswith("ort"):
        inputs = [masks.astype(np.float32), np.asarray(boxes, np.float32), np.asarray(num_detections, np.int32)]
        attributes = Attributes(max_counts, paste)
        inputs.append(np.asarray(info, np.float32))
        return mask_rle.RunLengths(*ort_runner.run(where, "MaskRLE", attributes, inputs, [0], dtype))
    images, detections, side = masks.shape[:3]
    given = [
        torch.from_numpy(np.ascontiguousarray(masks)).to(MASK_TYPES[dtype]),
        torch.from_numpy(np.array(boxes, np.float32)),
        torch.from_numpy(np.array(num_detections, np.int32)),
        torch.from_numpy(np.array(info, np.float32)),
    ]
    found = [  # what is left unwritten shows
        torch.full((images, detections, max_counts), -77, dtype=torch.int32),
        torch.full((images, detections), -77, dtype=torch.int32),
        torch.full((images, detections, 4), float("nan")),
    ]
    config = mask_rle.config_of(images, detections, side, max_counts, dtype, paste)
    if where == "cuda":
        library = device.cuda()
        given, found = [tensor.cuda() for tensor in given], [tensor.cuda() for tensor in found]
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
    else:
        library, stream = device.simt(seed), None
    pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (*given, *found)]
    device.check(library, library.maskline_device_mask_rle(ctypes.byref(config), *pointers, stream))
    return mask_rle.RunLengths(*(tensor.cpu().numpy() for tensor in found))
