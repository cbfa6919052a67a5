"""Triton's `onnxruntime` backend written in Python: the same config.pbtxt as the C++ one, on any machine.

Runs `<model>/<version>/model.onnx` (or `default_model_filename`). The work is in onnx_session.py, and for a model with
the parameter `batch_sizes`, which the target onnxruntime-gpu has, in padded_engine.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import batch_sizes
import triton_python_backend_utils as pb_utils
from device_tensors import from_dlpack, of_array
from onnx_session import load, run_joined
from padded_engine import load_engine


class TritonPythonModel:
    """What Triton's Python backend calls, for each model that says `backend: "onnxruntime"`."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model and compare it with its config.pbtxt; what does not fit fails the load, with its name."""
        config = json.loads(args["model_config"])
        self._name = args["model_name"]
        folder = Path(args["model_repository"]) / args["model_version"]
        file = folder / (config.get("default_model_filename") or "model.onnx")
        card = int(args.get("model_instance_device_id") or 0)
        self._inputs = [entry["name"] for entry in config["input"]]
        self._outputs = [entry["name"] for entry in config["output"]]
        try:
            self._run = self._padded(file, config, card) or self._as_they_come(file, config, card)
        except ValueError as error:
            raise pb_utils.TritonModelException(f"{self._name}: {error}") from error

    def execute(self, requests: list[Any]) -> list[Any]:
        """Run requests of equal shapes together; a failing one fails alone."""
        return self._run(requests)

    def _as_they_come(self, file: Path, config: dict[str, Any], card: int) -> Callable[[list[Any]], list[Any]]:
        """Runs batches of any size, in memory of the host."""
        session = load(file, config, self._say, card)

        def run(requests: list[Any]) -> list[Any]:
            feeds = [
                {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
                for request in requests
            ]
            answers = run_joined(session, self._outputs, feeds)
            return [self._response(answer, lambda name, array: pb_utils.Tensor(name, array)) for answer in answers]

        return run

    def _padded(self, file: Path, config: dict[str, Any], card: int) -> Callable[[list[Any]], list[Any]] | None:
        """Runs batches of the sizes that the config has, where the sessions compute; None where it has none."""
        if not batch_sizes.sizes(config):
            return None
        engine = load_engine(file, config, card, self._say)

        def run(requests: list[Any]) -> list[Any]:
            feeds = [{name: _taken(request, name) for name in self._inputs} for request in requests]
            answers = engine.run(feeds)
            return [
                self._response(answer, lambda name, tensor: engine.memory.hand_over(name, tensor, pb_utils))
                for answer in answers
            ]

        return run

    def _say(self, line: str) -> None:
        pb_utils.Logger.log_info(f"{self._name}: {line}")

    def _response(self, answer: list[Any] | Exception, handed: Callable[[str, Any], Any]) -> Any:
        if isinstance(answer, Exception):
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"{self._name}: {answer}"))
        return pb_utils.InferenceResponse(
            [handed(name, value) for name, value in zip(self._outputs, answer, strict=True)]
        )


def _taken(request: Any, name: str) -> Any:
    """An input of a request where it lies, on the host or on a card."""
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return of_array(tensor.as_numpy()) if tensor.is_cpu() else from_dlpack(tensor.to_dlpack())
