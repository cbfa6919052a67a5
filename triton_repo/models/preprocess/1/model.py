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

# More files at a time than this would only raise the peak of memory: docs/operations.md, "Memory".
_MAX_THREADS = 4
_DECODE = ("host", "device")
_ISOLATION = ("process", "none")
_JPEG = b"\xff\xd8\xff"
_ARTIFACT = "artifact_sha256"  # parameter of the model, and of requests that are meant for one model alone


class TritonPythonModel:
    """What Triton's Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the parameters of config.pbtxt; a missing or wrong one fails the load with its name."""
        config = json.loads(args["model_config"])
        text = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        self._artifact = text.get(_ARTIFACT, "")
        try:
            self._geometry, self._limits = images.geometry_of(text), images.limits_of(text)
            self._resize, resizer = filters.choose(text.get("resize_filter", ""))
            decodes_on_device = _one_of("decode", _DECODE, text) == "device"
            self._pool = _processes(text) if _one_of("decode_isolation", _ISOLATION, text) == "process" else None
        except ValueError as error:
            raise pb_utils.TritonModelException(f"preprocess: config.pbtxt: parameter {error}") from error
        pb_utils.Logger.log_info(f"preprocess: {resizer}")
        if self._pool is None:
            pb_utils.Logger.log_info("preprocess: files are decoded in this process")
        self._decoder: Any = None
        self._canvas: Any = None
        if decodes_on_device:
            self._decoder, self._canvas = _device(args, text["resize_filter"])
        # Our limits take the place of Pillow's, which would print a warning from 89 megapixels on.
        Image.MAX_IMAGE_PIXELS = None
        self._threads = ThreadPoolExecutor(_threads(), "decode")

    def execute(self, requests: list[Any]) -> list[Any]:
        """Decode the images of all requests in parallel; a bad one fails its own request alone."""
        refused = [self._other_model(request) for request in requests]
        files = [[] if answer else _files(request) for request, answer in zip(requests, refused, strict=True)]
        decoded = iter(self._decode([file for each in files for file in each]))
        answers = zip(refused, [list(itertools.islice(decoded, len(each))) for each in files], strict=True)
        return [answer or self._respond(pictures) for answer, pictures in answers]

    def finalize(self) -> None:
        """Stop the decoding threads, then the processes that they ask."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        if self._pool is not None:
            self._pool.close()

    def _other_model(self, request: Any) -> Any:
        """The refusal of a request that is meant for another model: its client would read our answer by old names."""
        asked = json.loads(request.parameters() or "{}").get(_ARTIFACT, self._artifact)
        if asked == self._artifact:
            return None
        text = f"{_ARTIFACT}: got a request for {asked!r}, expected {self._artifact!r}; ask for the model's names again"
        return pb_utils.InferenceResponse(error=pb_utils.TritonError(text, pb_utils.TritonError.INVALID_ARG))

    def _decode(self, files: list[bytes]) -> list[Any]:
        """For each file a picture and its original size, or why there is none."""
        done = self._decoded_on_device(files) if self._decoder else [None] * len(files)
        left = [file for file, picture in zip(files, done, strict=True) if picture is None]
        # One alone needs no other thread to be woken.
        found = iter(list(map(self._prepare, left) if len(left) == 1 else self._threads.map(self._prepare, left)))
        return [next(found) if picture is None else picture for picture in done]

    def _decoded_on_device(self, files: list[bytes]) -> list[Any]:
        """For each file that the device takes its picture and original size; None for the others."""
        try:
            found = self._decoder.decode(files, [self._header(file) for file in files])
        except Exception as error:  # of CUDA, whatever it is: the host decodes them all
            pb_utils.Logger.log_warn(f"preprocess: {len(files)} files decoded by the host, for nvImageCodec: {error}")
            return [None] * len(files)
        return [None if picture is None else (picture, tuple(picture.shape[1:])) for picture in found]

    def _header(self, file: bytes) -> Any:
        """A JPEG as Pillow opens it, by Python alone; None for the host's: another format, and what is refused."""
        if not file.startswith(_JPEG):
            return None
        try:
            return images.opened(file, self._limits)
        except images.InvalidImageError:
            return None

    def _prepare(self, file: bytes) -> Any:
        try:
            if self._pool is not None:
                return self._pool.decode(file)
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
        try:
            canvas, info, size = self._on_device_canvas(decoded) if self._canvas else self._on_host_canvas(decoded)
        except Exception as error:  # of CUDA, whatever it is: it must not fail the other requests
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"preprocess: {error}"))
        tensors = {"image_info": info, "image_size": size}
        return pb_utils.InferenceResponse([canvas, *(pb_utils.Tensor(name, array) for name, array in tensors.items())])

    def _on_host_canvas(self, decoded: list[Any]) -> tuple[Any, Any, Any]:
        canvas, info, size = images.compose(decoded, self._geometry)
        return pb_utils.Tensor("canvas", canvas), info, size

    def _on_device_canvas(self, decoded: list[Any]) -> tuple[Any, Any, Any]:
        """The same where the device is, handed over without a copy."""
        originals = [original for _, original in decoded]
        resized = [self._geometry.resized_size(original) for original in originals]
        placed = images.layout(resized, originals, self._geometry)
        canvas = self._canvas.compose([picture for picture, _ in decoded], resized, placed.canvas)
        return pb_utils.Tensor.from_dlpack("canvas", canvas.__dlpack__()), placed.info, placed.sizes


def _one_of(key: str, values: tuple[str, ...], text: dict[str, str]) -> str:
    """A parameter that is a word; ValueError where it is no word of these."""
    if text.get(key, "") not in values:
        raise ValueError(f"{key}: got {text.get(key, '')!r}, expected one of {', '.join(values)}")
    return text[key]


def _processes(text: dict[str, str]) -> Any:
    """What decodes outside of this process; the log gets a line of how well it is confined.

    Raises:
        ValueError: a parameter is wrong, or no process can be started.
    """
    from .decoder import pool, process  # for Linux alone; a client's process may run elsewhere

    _, seconds = (images.whole_number(text, f"max_decode_{key}") for key in ("bytes", "seconds"))
    warn = pb_utils.Logger.log_warn
    try:
        found = pool.DecoderPool(_threads(), text, lambda line: warn(f"preprocess: {line}"))
    except process.DecoderError as error:
        raise ValueError(
            f"decode_isolation: {error}; set it to 'none' to decode in the model's own process, where a file that "
            "crashes the decoder ends the model"
        ) from error
    said = found.said
    pb_utils.Logger.log_info(
        f"preprocess: files are decoded in up to {_threads()} processes of their own, {seconds} s a file; "
        f"in force there: {', '.join(said['in_force'])}"
    )
    if said["refused"]:
        warn(f"preprocess: refused by this platform where files are decoded: {', '.join(said['refused'])}")
    return found


def _device(args: dict[str, str], resize_filter: str) -> tuple[Any, Any]:
    """What decodes, and what resizes and pads, where this instance is: on its GPU, or on the CPU by the same libraries.

    Raises:
        TritonModelException: a package is missing, or cannot be used there.
    """
    try:
        from . import device_canvas, device_decoder  # packages that the host's way does not need

        on_card = args.get("model_instance_kind") == "GPU"
        card = int(args["model_instance_device_id"]) if on_card else device_decoder.HOST
        found = device_decoder.DeviceDecoder(card, _threads()), device_canvas.DeviceCanvas(resize_filter, card)
    except ImportError as error:
        text = f"got {error}, expected nvImageCodec and ONNX Runtime; `pip install 'maskline[gpu,decode]'`"
        raise pb_utils.TritonModelException(f"preprocess: config.pbtxt: parameter decode: {text}") from error
    except ValueError as error:
        raise pb_utils.TritonModelException(f"preprocess: {error}") from error
    place = f"GPU {card}" if on_card else "the CPU"
    pb_utils.Logger.log_info(f"preprocess: nvImageCodec decodes JPEGs on {place}, ONNX Runtime resizes them there")
    return found


def _threads() -> int:
    return min(_MAX_THREADS, os.cpu_count() or 1)


def _files(request: Any) -> list[bytes]:
    """The files of a request."""
    return list(pb_utils.get_input_tensor_by_name(request, "image").as_numpy().reshape(-1))
