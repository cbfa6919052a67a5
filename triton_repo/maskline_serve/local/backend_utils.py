"""What our models use of `triton_python_backend_utils`, for a process that is not Triton's.

Ref: https://github.com/triton-inference-server/python_backend, resources/triton_python_backend_utils.py: names and
meanings are its own.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_log = logging.getLogger("maskline.local")


class TritonModelException(Exception):  # noqa: N818 -- Triton's name
    """A model that does not load."""


class Tensor:
    """A named array."""

    def __init__(self, name: str, array: npt.NDArray[Any]) -> None:
        self._name, self._array = name, array

    @staticmethod
    def from_dlpack(name: str, capsule: Any) -> Tensor:
        """A tensor of the host that somebody hands over."""
        return Tensor(name, np.from_dlpack(_Handed(capsule)))

    def name(self) -> str:
        """The tensor's name."""
        return self._name

    def as_numpy(self) -> npt.NDArray[Any]:
        """The array, not a copy."""
        return self._array


class _Handed:
    """A DLPack capsule in the form that numpy takes."""

    def __init__(self, capsule: Any) -> None:
        self._capsule = capsule

    def __dlpack__(self, **_: Any) -> Any:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0  # kDLCPU


class InferenceRequest:
    """The inputs of one call, batch first."""

    def __init__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
        self.inputs = {name: Tensor(name, array) for name, array in inputs.items()}

    def parameters(self) -> str:
        """The parameters of a call, as JSON; none here."""
        return json.dumps({})


class TritonError:
    """Why a call failed."""

    INTERNAL, INVALID_ARG = "INTERNAL", "INVALID_ARG"

    def __init__(self, message: str, code: str = INTERNAL) -> None:
        self._message, self._code = message, code

    def message(self) -> str:
        """The text."""
        return self._message

    def code(self) -> str:
        """`INVALID_ARG` where the caller is to blame."""
        return self._code


class InferenceResponse:
    """The outputs of one call, or its error."""

    def __init__(self, output_tensors: Sequence[Tensor] = (), error: TritonError | None = None) -> None:
        self.outputs, self.error = {tensor.name(): tensor.as_numpy() for tensor in output_tensors}, error


class Logger:
    """Triton's log; here that of Python, under the name `maskline.local`."""

    @staticmethod
    def log_info(text: str) -> None:
        """A line of information."""
        _log.info("%s", text)

    @staticmethod
    def log_warn(text: str) -> None:
        """A line about what is not as it should be."""
        _log.warning("%s", text)


def get_input_tensor_by_name(request: InferenceRequest, name: str) -> Tensor:
    """An input of a call."""
    return request.inputs[name]
