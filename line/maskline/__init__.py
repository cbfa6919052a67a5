"""The whole line in one import: a network that another framework trained, tried here or made into what is served.

    import maskline
    found = maskline.from_detectron2("model_final.pth", "config.yaml", classes=("cat", "dog")).detect("photo.jpg")

It imports all of our packages and is imported by none of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskline_client import Detections, Detector, LocalDetector

    from maskline.imported import (
        from_detectron,
        from_detectron2,
        from_maskrcnn_benchmark,
        from_mmdetection,
        from_torchvision,
    )

__all__ = [
    "Detections",
    "Detector",
    "LocalDetector",
    "from_detectron",
    "from_detectron2",
    "from_maskrcnn_benchmark",
    "from_mmdetection",
    "from_torchvision",
]

_HOMES = {
    "Detections": "maskline_client",
    "Detector": "maskline_client",
    "LocalDetector": "maskline_client",
    "from_detectron": "maskline.imported",
    "from_detectron2": "maskline.imported",
    "from_maskrcnn_benchmark": "maskline.imported",
    "from_mmdetection": "maskline.imported",
    "from_torchvision": "maskline.imported",
}


def __getattr__(name: str) -> Any:
    """Load a name when it is asked for: torch takes seconds, and a client does not need it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
