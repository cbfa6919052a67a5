"""Benchmarks against the peers, ours and theirs in turn; not part of the wheel, run from a checkout by make."""

import os

# Before anything loads ONNX Runtime, which since 1.29 sends usage data unless told not to; set it to 0 to let it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
