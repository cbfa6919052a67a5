"""The ops on a GPU, ours and torchvision's in turn."""
