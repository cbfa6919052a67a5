"""Triton model `preprocess`: image files to canvases, each request by itself. The work is in images.py."""

from __future__ import annotations

import json
import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import triton_python_backend_utils as pb_utils

from . import images

# Pillow gives the interpreter free while it decodes and resizes. More threads than this would only raise the peak
# of memory: a 50-megapixel picture takes 150 to 400 MB while it is decoded.
_MAX_THREADS = 4


class TritonPythonModel:
    """What Triton's Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the parameters of config.pbtxt; a missing or wrong one fails the load with its name."""
        config = json.loads(args["model_config"])
        text = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        try:
            self._geometry = images.Geometry(
                int(text["shorter_side_px"]), int(text["longer_side_px"]), images.parse_canvases(text["canvases"])
            )
            self._limits = images.Limits(
                int(text["max_image_bytes"]), int(text["max_image_pixels"]), int(text["max_image_side_px"])
            )
        except KeyError as error:
            raise pb_utils.TritonModelException(f"preprocess: config.pbtxt lacks the parameter {error}") from error
        except ValueError as error:
            raise pb_utils.TritonModelException(f"preprocess: config.pbtxt: parameter {error}") from error
        # Our limits take the place of Pillow's, which would print a warning from 89 megapixels on.
        images.Image.MAX_IMAGE_PIXELS = None
        self._threads = ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1), "decode")

    def execute(self, requests: list[Any]) -> list[Any]:
        """Decode the images of all requests in parallel; a bad one fails its own request alone."""
        pending = [self._submit(request) for request in requests]
        return [self._respond(futures) for futures in pending]

    def finalize(self) -> None:
        """Stop the decoding threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _submit(self, request: Any) -> list[Future[Any]]:
        files = pb_utils.get_input_tensor_by_name(request, "image").as_numpy().reshape(-1)
        return [self._threads.submit(images.prepare, file, self._geometry, self._limits) for file in files]

    def _respond(self, futures: list[Future[Any]]) -> Any:
        pictures, errors = [], []
        for i, future in enumerate(futures):
            try:
                pictures.append(future.result())
            except images.InvalidImageError as error:
                errors.append(str(error) if len(futures) == 1 else f"{error} (image {i} of {len(futures)}, from 0)")
        if errors:
            error = pb_utils.TritonError("; ".join(errors), pb_utils.TritonError.INVALID_ARG)
            return pb_utils.InferenceResponse(error=error)
        canvas, info, size = images.compose(pictures, self._geometry)
        tensors = {"canvas": canvas, "image_info": info, "image_size": size}
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in tensors.items()])
