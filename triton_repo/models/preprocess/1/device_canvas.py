"""Resizes decoded pictures and puts them on their canvas where an instance of this model is, by ONNX Runtime.

The graphs beside this file, `antialiased.onnx` and `plain.onnx`, are made by maskline_export/onnx_stages/to_canvas.py.

Letters: H W a picture, h w the size it is brought to, Y X the canvas.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault(
    "ORT_DISABLE_TELEMETRY", "1"
)  # before the import: since 1.29 it sends usage data unless told not to
import onnxruntime as ort

from .device_decoder import HOST
from .resizing import Size

_CUDA = "CUDAExecutionProvider"
# kSameAsRequested: what one large picture takes is not doubled for good.
_OPTIONS = {"arena_extend_strategy": "kSameAsRequested"}


class DeviceCanvas:
    """The session of one place; for one thread.

    Args:
        resize_filter: `pillow`, `cv2` or `torch`.
        card: number of the GPU, or HOST.

    Raises:
        ValueError: ONNX Runtime has no CUDA here.
    """

    def __init__(self, resize_filter: str, card: int) -> None:
        self._place = ("cpu", 0) if card == HOST else ("cuda", card)
        file = Path(__file__).with_name("antialiased.onnx" if resize_filter == "pillow" else "plain.onnx")
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1  # the work is the card's
        # As it is written: what moves a Transpose would make planes of pixels, which CUDA's Resize does not take.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        wanted: list[Any] = ["CPUExecutionProvider"]
        if card != HOST:
            ort.preload_dlls()
            wanted.insert(0, (_CUDA, {"device_id": str(card), **_OPTIONS}))
        self._session = ort.InferenceSession(file, options, providers=wanted)
        if card != HOST and _CUDA not in self._session.get_providers():
            raise ValueError(f"{file.name}: ONNX Runtime cannot use CUDA here, its log says why")

    def compose(self, pictures: Sequence[Any], sizes: Sequence[Size], canvas: Size) -> ort.OrtValue:
        """The canvases of one request.

        Args:
            pictures: what `DeviceDecoder.decode` gave, or what the host resized already, [h,w,3] uint8.
            sizes: h, w of each.
            canvas: Y, X.

        Returns:
            [B,Y,X,3] uint8, zero outside the pictures, where this session is.
        """
        made = ort.OrtValue.ortvalue_from_shape_and_type((len(pictures), *canvas, 3), np.uint8, *self._place)
        for at, (picture, size) in enumerate(zip(pictures, sizes, strict=True)):
            self._put(picture, size, canvas, made.data_ptr() + at * 3 * canvas[0] * canvas[1])
        return made

    def _put(self, picture: Any, size: Size, canvas: Size, address: int) -> None:
        """Resize one picture into the memory of its canvas."""
        (h, w), (height, width) = size, canvas
        binding = self._session.io_binding()
        if isinstance(picture, np.ndarray):
            stored = h
            binding.bind_cpu_input("picture", np.ascontiguousarray(picture.transpose(2, 0, 1))[None])
        else:
            stored = picture.shape[1]
            binding.bind_input("picture", *self._place, np.uint8, [1, *picture.shape], self._address(picture))
        shapes = {
            "across": (1, 3, stored, w),
            "down": (1, 3, w, h),
            "right": (1, h, width - w, 3),
            "below": (1, height - h, width, 3),
        }
        for name, shape in shapes.items():
            binding.bind_cpu_input(name, np.array(shape, np.int64))
        binding.bind_output("canvas", *self._place, np.uint8, [1, height, width, 3], address)
        binding.synchronize_inputs()  # the decoder has a stream of its own
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    def _address(self, picture: Any) -> int:
        """Of a picture's planes, which lie one after the other without gaps."""
        on_card = self._place[0] == "cuda"
        found = picture.__cuda_array_interface__ if on_card else picture.__array_interface__
        if found["typestr"] != "|u1" or found["strides"] is not None or found["shape"][0] != 3:
            raise ValueError(f"nvImageCodec: got {found}, expected uint8 [3,H,W] without gaps")
        return int(found["data"][0])
