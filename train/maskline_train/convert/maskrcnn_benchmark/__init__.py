"""Networks of maskrcnn-benchmark, and of NVIDIA's Mask R-CNN, which is made of it."""
