"""The stages of an assembled repository by the backend that serves them, in this process: padded batches, warmed up."""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from maskline_serve.repository.config import as_triton_json, parse
from maskline_serve.repository.on_disk import STAGES, Repository

Arrays = dict[str, npt.NDArray[Any]]


class ServedStages:
    """The stages in their order, features handed on where they lie.

    Attributes:
        warm_up_s: seconds that loading and warming up took.
    """

    def __init__(self, repository: Path, device: str, canvases: Sequence[int], **parameters: str) -> None:
        """Load and warm up.

        Args:
            repository: of the target onnxruntime-gpu.
            device: `cpu` or `cuda`.
            canvases: which of its canvases to warm up, by their place in the list.
            parameters: what to change in the parameters of each stage.
        """
        folder = str(repository / "backends" / "onnxruntime")
        if folder not in sys.path:
            sys.path.insert(0, folder)  # a backend's folder is on Triton's path; its files are modules
        self._tensors = importlib.import_module("device_tensors")
        self.engines: dict[str, Any] = {}
        start = time.perf_counter()
        served = Repository.load(repository)
        for name in STAGES:
            if served.model(name).is_dir():
                self.engines[name] = self._engine(served.model(name), device, canvases, parameters)
        self.warm_up_s = time.perf_counter() - start

    def _engine(self, model: Path, device: str, canvases: Sequence[int], changed: dict[str, str]) -> Any:
        parsed = parse((model / "config.pbtxt").read_text(encoding="utf-8"), model)
        for key, value in changed.items():
            parsed.parameters[key].string_value = value
        kind = "KIND_GPU" if device == "cuda" else "KIND_CPU"
        for group in parsed.instance_group:
            group.kind = group.Kind.Value(kind)
        config = json.loads(as_triton_json(parsed))
        warm_up = config["parameters"]["warm_up"]
        shapes = json.loads(warm_up["string_value"])
        # Small maps are equal on several canvases, and listed once.
        warm_up["string_value"] = json.dumps([shapes[min(place, len(shapes) - 1)] for place in canvases])
        return importlib.import_module("padded_engine").load_engine(model / "1" / "model.onnx", config, 0)

    def run(self, given: Arrays, seconds: dict[str, list[float]] | None = None) -> dict[str, Any]:
        """All tensors by name after the last stage, where they lie; `seconds` gets one entry a stage."""
        values: dict[str, Any] = {name: self._tensors.of_array(array) for name, array in given.items()}
        for name, engine in self.engines.items():
            start = time.perf_counter()
            (answer,) = engine.run([{wanted: values[wanted] for wanted in engine.input_names}])
            if isinstance(answer, Exception):
                raise answer
            values.update(zip(engine.output_names, answer, strict=True))
            if seconds is not None:
                seconds.setdefault(name, []).append(time.perf_counter() - start)
        return values


def batch_of(images: int, canvas: tuple[int, int], seed: int) -> Arrays:
    """Noise as what the first stage takes."""
    height, width = canvas
    pixels = np.random.default_rng(seed).integers(0, 256, (images, height, width, 3), np.uint8)
    return {"canvas": pixels, "image_info": np.array([[height, width, 1, 1, height, width]] * images, np.float32)}
