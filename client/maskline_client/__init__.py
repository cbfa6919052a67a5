"""Call a Mask R-CNN: `Detector` over gRPC, its asyncio twin, `LocalDetector` in this process; what they raise."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskline_client.async_detector import AsyncDetector
    from maskline_client.connection import Tls
    from maskline_client.detections import Detection, Detections
    from maskline_client.detector import Detector, Outcome
    from maskline_client.errors import (
        ClientError,
        ContractMismatch,
        DeadlineExceeded,
        InvalidImage,
        InvalidModel,
        QueueFull,
        ServerUnavailable,
    )
    from maskline_client.local.detector import LocalDetector
    from maskline_client.served_model import KeypointNames, ModelIdentity, ServedModel
    from maskline_client.tiled.async_detector import AsyncTiledDetector
    from maskline_client.tiled.detector import TiledDetector

__all__ = [
    "AsyncDetector",
    "AsyncTiledDetector",
    "ClientError",
    "ContractMismatch",
    "DeadlineExceeded",
    "Detection",
    "Detections",
    "Detector",
    "InvalidImage",
    "InvalidModel",
    "KeypointNames",
    "LocalDetector",
    "ModelIdentity",
    "Outcome",
    "QueueFull",
    "ServedModel",
    "ServerUnavailable",
    "TiledDetector",
    "Tls",
]

_HOMES = {
    "AsyncDetector": "async_detector",
    "AsyncTiledDetector": "tiled.async_detector",
    "ClientError": "errors",
    "ContractMismatch": "errors",
    "DeadlineExceeded": "errors",
    "Detection": "detections",
    "Detections": "detections",
    "Detector": "detector",
    "InvalidImage": "errors",
    "InvalidModel": "errors",
    "KeypointNames": "served_model",
    "LocalDetector": "local.detector",
    "ModelIdentity": "served_model",
    "Outcome": "detector",
    "QueueFull": "errors",
    "ServedModel": "served_model",
    "ServerUnavailable": "errors",
    "TiledDetector": "tiled.detector",
    "Tls": "connection",
}


def __getattr__(name: str) -> Any:
    """Load a name when it is asked for: gRPC is not needed to say that it is missing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
