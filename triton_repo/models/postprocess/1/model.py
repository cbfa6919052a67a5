"""Triton models `postprocess` and `postprocess_raw`: detections on the canvas to those of the original image.

The model whose config.pbtxt has the output `mask_rle` encodes the masks (see rle.py); the one with `masks` keeps them.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from . import rle

_INPUTS = ("boxes", "scores", "labels", "num_detections", "masks", "image_info")


class TritonPythonModel:
    """What Triton's Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """See from the outputs of config.pbtxt whether masks are to be encoded."""
        outputs = {output["name"] for output in json.loads(args["model_config"])["output"]}
        self._encodes = "mask_rle" in outputs

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request by itself: images of one batch differ in size."""
        return [self._guarded(request) for request in requests]

    def _guarded(self, request: Any) -> Any:
        try:
            return self._respond(request)
        except Exception as error:  # whatever it is, it must not fail the other requests of the batch
            text = f"detections cannot be brought to the original image: {type(error).__name__}: {error}"
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(text))

    def _respond(self, request: Any) -> Any:
        boxes, scores, labels, counts, masks, info = (
            pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in _INPUTS
        )
        padding = np.arange(boxes.shape[1]) >= counts  # [B,D]: rows past the count
        image_boxes = np.stack([rle.boxes_to_image(*pair) for pair in zip(boxes, info, strict=True)])
        tensors = {
            "num_detections": counts,
            "boxes": np.where(padding[:, :, None], np.float32(0), image_boxes),
            "scores": np.where(padding, np.float32(0), scores),
            "labels": np.where(padding, np.int32(-1), labels),
        }
        if self._encodes:
            tensors["mask_rle"] = _encode(masks, image_boxes, counts, info)
        else:
            tensors["masks"] = np.where(padding[:, :, None, None], np.uint8(0), masks)
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in tensors.items()])


def _encode(masks: Any, boxes: Any, counts: Any, info: Any) -> Any:
    """COCO RLE counts of every detection, [B,D] bytes objects; empty past the count."""
    encoded = np.full(masks.shape[:2], b"", object)
    for b, (count,) in enumerate(counts):
        size = (int(info[b, 4]), int(info[b, 5]))
        for d in range(count):
            encoded[b, d] = rle.encode_mask(masks[b, d], boxes[b, d], size)
    return encoded
