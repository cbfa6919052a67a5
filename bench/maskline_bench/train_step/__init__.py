"""A training step of Mask R-CNN ResNet-50-FPN: ours as `maskline-train fit` runs it, and torchvision's."""
