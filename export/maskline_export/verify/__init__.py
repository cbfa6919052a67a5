"""Whether what was exported answers as the trained model does: ONNX stages, engines, whole images."""
