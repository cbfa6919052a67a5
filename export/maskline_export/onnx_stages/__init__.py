"""From a trained model to ONNX stages: the twins that are traced, their tensors, the files' checks."""
