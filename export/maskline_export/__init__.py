"""Export a Mask R-CNN checkpoint to ONNX stages with our own ops, and prove that they agree with PyTorch."""
