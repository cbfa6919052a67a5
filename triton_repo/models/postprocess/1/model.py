"""Triton models `postprocess`, `postprocess_raw`, `postprocess_boxes`: detections on the canvas to the original image.

The model whose config.pbtxt has the output `mask_rle` encodes the masks (see encoders.py); the one with `masks` keeps
them. Where the config has no masks or no keypoints, the network has no such branch.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils

from . import encoders, geometry, rle

Array = npt.NDArray[Any]


class TritonPythonModel:
    """What Triton's Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """See in config.pbtxt whether masks are to be encoded, and how; a wrong parameter fails the load by name."""
        config = json.loads(args["model_config"])
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._encode: encoders.Encoder | None = None
        if "mask_rle" in {output["name"] for output in config["output"]}:
            (side,) = {int(tensor["dims"][-1]) for tensor in config["input"] if tensor["name"] == "masks"}
            self._encode, text = encoders.choose(side, _paste(config))
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
        given = {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
        tensors = self._at_original_size(given)
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in tensors.items()])

    def _at_original_size(self, given: dict[str, Array]) -> dict[str, Array]:
        """The outputs of a request by name; rows of padding zero, -1 and empty whatever the stages gave there."""
        counts, info = given["num_detections"], given["image_info"]
        padding = np.arange(given["boxes"].shape[1]) >= counts  # [B,D]: rows past the count
        boxes = np.stack([geometry.boxes_to_image(*pair) for pair in zip(given["boxes"], info, strict=True)])
        found = {
            "num_detections": counts,
            "boxes": np.where(padding[:, :, None], np.float32(0), boxes),
            "scores": np.where(padding, np.float32(0), given["scores"]),
            "labels": np.where(padding, np.int32(-1), given["labels"]),
        }
        if self._encode is not None:
            sizes = np.repeat(info[:, 4:].astype(np.int32), counts[:, 0], axis=0)
            texts = np.full(padding.shape, b"", object)
            texts[~padding] = np.array(self._encode(given["masks"][~padding], boxes[~padding], sizes), object)
            found["mask_rle"] = texts
        elif "masks" in given:
            found["masks"] = np.where(padding[:, :, None, None], np.float32(0), given["masks"])
        if "keypoints" in given:
            pairs = zip(given["keypoints"], info, strict=True)
            keypoints = np.stack([geometry.keypoints_to_image(*pair) for pair in pairs])
            found["keypoints"] = np.where(padding[:, :, None, None], np.float32(0), keypoints)
        return found


def _paste(config: dict[str, Any]) -> str:
    """How masks become pixels.

    Raises:
        TritonModelException: the parameter `paste` is not there, or no rule.
    """
    found: str = config.get("parameters", {}).get("paste", {}).get("string_value", "")
    if found not in rle.RULES:
        text = f"parameter paste: got {found!r}, expected one of {', '.join(rle.RULES)}"
        raise pb_utils.TritonModelException(f"postprocess: config.pbtxt: {text}")
    return found
