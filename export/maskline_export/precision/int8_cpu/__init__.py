"""int8 for ONNX Runtime on a CPU: what is quantised, by which ranges, and what it costs and brings."""
