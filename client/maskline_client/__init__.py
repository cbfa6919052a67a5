"""Call a served Mask R-CNN over gRPC: `Detector`, its asyncio twin, and what they return and raise."""

from maskline_client.async_detector import AsyncDetector
from maskline_client.connection import Tls
from maskline_client.detections import Detection, Detections
from maskline_client.detector import Detector, Outcome
from maskline_client.errors import (
    ClientError,
    ContractMismatch,
    DeadlineExceeded,
    InvalidImage,
    QueueFull,
    ServerUnavailable,
)
from maskline_client.served_model import KeypointNames, ServedModel

__all__ = [
    "AsyncDetector",
    "ClientError",
    "ContractMismatch",
    "DeadlineExceeded",
    "Detection",
    "Detections",
    "Detector",
    "InvalidImage",
    "KeypointNames",
    "Outcome",
    "QueueFull",
    "ServedModel",
    "ServerUnavailable",
    "Tls",
]
