"""Files of Detectron, the first of the line, and what its port to PyTorch, maskrcnn-benchmark, shares with it."""
