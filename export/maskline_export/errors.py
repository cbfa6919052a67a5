"""What can go wrong in export, as one small tree. Texts say what, got, expected and the next step."""

from __future__ import annotations


class ExportError(Exception):
    """Any failure that a user of maskline-export should read as one line."""

    exit_code = 1


class ContractError(ExportError):
    """A checkpoint, an artifact or a graph is not what the contract in docs/architecture.md says."""


class ParityError(ExportError):
    """An exported stage does not compute what the PyTorch model computes."""


class EngineBuildError(ExportError):
    """A stage, a plugin library or this machine's TensorRT does not give the engine that was asked for."""
