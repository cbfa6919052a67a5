"""Triton models `postprocess` and `postprocess_raw`: detections on the canvas to those of the original image.

The model whose config.pbtxt has the output `mask_rle` encodes the masks (see encoders.py); the one with `masks` keeps
them.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from . import encoders, rle

_INPUTS = ("boxes", "scores", "labels", "num_detections", "masks", "image_info")


class TritonPythonModel:
    """What Triton's Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """See from the outputs of config.pbtxt whether masks are to be encoded."""
        config = json.loads(args["model_config"])
        self._encode: encoders.Encoder | None = None
        if "mask_rle" in {output["name"] for output in config["output"]}:
            (side,) = {int(tensor["dims"][-1]) for tensor in config["input"] if tensor["name"] == "masks"}
            self._encode, text = encoders.choose(side)
            pb_utils.Logger.log_info(f"{args['model_name']}: {text}")

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
        if self._encode is None:
            tensors["masks"] = np.where(padding[:, :, None, None], np.uint8(0), masks)
        else:
            sizes = np.repeat(info[:, 4:].astype(np.int32), counts[:, 0], axis=0)
            texts = np.full(padding.shape, b"", object)
            texts[~padding] = np.array(self._encode(masks[~padding], image_boxes[~padding], sizes), object)
            tensors["mask_rle"] = texts
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in tensors.items()])
