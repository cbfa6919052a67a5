"""Triton's `onnxruntime` backend written in Python: the same config.pbtxt as the C++ one, on any machine.

Runs `<model>/<version>/model.onnx` (or `default_model_filename`). The work is in onnx_session.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils
from onnx_session import load, run_joined


class TritonPythonModel:
    """What Triton's Python backend calls, for each model that says `backend: "onnxruntime"`."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model and compare it with its config.pbtxt; what does not fit fails the load, with its name."""
        config = json.loads(args["model_config"])
        self._name = args["model_name"]
        folder = Path(args["model_repository"]) / args["model_version"]
        try:
            self._session = load(folder / (config.get("default_model_filename") or "model.onnx"), config, self._say)
        except ValueError as error:
            raise pb_utils.TritonModelException(f"{self._name}: {error}") from error
        self._inputs = [entry["name"] for entry in config["input"]]
        self._outputs = [entry["name"] for entry in config["output"]]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Run requests of equal shapes together; a failing one fails alone."""
        feeds = [
            {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
            for request in requests
        ]
        return [self._response(answer) for answer in run_joined(self._session, self._outputs, feeds)]

    def _say(self, line: str) -> None:
        pb_utils.Logger.log_info(f"{self._name}: {line}")

    def _response(self, answer: list[Any] | Exception) -> Any:
        if isinstance(answer, Exception):
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"{self._name}: {answer}"))
        tensors = zip(self._outputs, answer, strict=True)
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in tensors])
