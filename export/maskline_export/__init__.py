"""Export a Mask R-CNN checkpoint to ONNX stages with our own ops, and prove that they agree with PyTorch."""

import os

# Before anything loads ONNX Runtime, which since 1.29 sends usage data unless told not to; set it to 0 to let it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
