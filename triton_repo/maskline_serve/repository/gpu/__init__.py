"""The target `onnxruntime-gpu`: what an artifact must be for it, and what it changes in the configs."""
