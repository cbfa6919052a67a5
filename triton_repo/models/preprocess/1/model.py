"""Triton model `preprocess`: image files to canvases, each request by itself. The work is in images.py."""

from __future__ import annotations

import itertools
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import triton_python_backend_utils as pb_utils
from PIL import Image

from . import filters, images

# Pillow gives the interpreter free while it decodes and resizes. More threads than this would only raise the peak
# of memory: a picture of 48 megapixels takes 210 (JPEG) to 740 MiB (WebP) while it is decoded.
_MAX_THREADS = 4
_ARTIFACT = "artifact_sha256"  # parameter of the model, and of requests that are meant for one model alone


class TritonPythonModel:
    """What Triton's Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the parameters of config.pbtxt; a missing or wrong one fails the load with its name."""
        config = json.loads(args["model_config"])
        text = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        self._artifact = text.get(_ARTIFACT, "")
        limits = ("max_image_bytes", "max_image_pixels", "max_image_side_px")
        try:
            self._geometry = images.geometry_of(text)
            self._limits = images.Limits(*(images.whole_number(text, key) for key in limits))
            self._resize, resizer = filters.choose(text.get("resize_filter", ""))
        except ValueError as error:
            raise pb_utils.TritonModelException(f"preprocess: config.pbtxt: parameter {error}") from error
        pb_utils.Logger.log_info(f"preprocess: {resizer}")
        # Our limits take the place of Pillow's, which would print a warning from 89 megapixels on.
        Image.MAX_IMAGE_PIXELS = None
        self._threads = ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1), "decode")

    def execute(self, requests: list[Any]) -> list[Any]:
        """Decode the images of all requests in parallel; a bad one fails its own request alone."""
        refused = [self._other_model(request) for request in requests]
        files = [[] if answer else _files(request) for request, answer in zip(requests, refused, strict=True)]
        decoded = iter(self._decode([file for each in files for file in each]))
        answers = zip(refused, [list(itertools.islice(decoded, len(each))) for each in files], strict=True)
        return [answer or self._respond(pictures) for answer, pictures in answers]

    def finalize(self) -> None:
        """Stop the decoding threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _other_model(self, request: Any) -> Any:
        """The refusal of a request that is meant for another model: its client would read our answer by old names."""
        asked = json.loads(request.parameters() or "{}").get(_ARTIFACT, self._artifact)
        if asked == self._artifact:
            return None
        text = f"{_ARTIFACT}: got a request for {asked!r}, expected {self._artifact!r}; ask for the model's names again"
        return pb_utils.InferenceResponse(error=pb_utils.TritonError(text, pb_utils.TritonError.INVALID_ARG))

    def _decode(self, files: list[bytes]) -> list[Any]:
        """What `images.prepare` returns or raises for each file; one alone needs no other thread to be woken."""
        return list(map(self._prepare, files) if len(files) == 1 else self._threads.map(self._prepare, files))

    def _prepare(self, file: bytes) -> Any:
        try:
            return images.prepare(file, self._geometry, self._limits, self._resize)
        except Exception as error:  # whatever it is, it must not fail the other images
            return error

    def _respond(self, decoded: list[Any]) -> Any:
        errors = [(i, found) for i, found in enumerate(decoded) if isinstance(found, Exception)]
        if errors:
            text = "; ".join(
                str(e) if len(decoded) == 1 else f"{e} (image {i} of {len(decoded)}, counted from 0)" for i, e in errors
            )
            refused = all(isinstance(error, images.InvalidImageError) for _, error in errors)
            code = pb_utils.TritonError.INVALID_ARG if refused else pb_utils.TritonError.INTERNAL
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(text, code))
        canvas, info, size = images.compose(decoded, self._geometry)
        tensors = {"canvas": canvas, "image_info": info, "image_size": size}
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in tensors.items()])


def _files(request: Any) -> list[bytes]:
    """The files of a request."""
    return list(pb_utils.get_input_tensor_by_name(request, "image").as_numpy().reshape(-1))
