"""Our ONNX ops, one file an op: attributes, function bodies, numpy reference."""
