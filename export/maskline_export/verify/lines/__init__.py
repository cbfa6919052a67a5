"""What is compared with the trained model: ONNX stages, engines, a running server; each finds, the table judges."""
