"""Data: decoding and preprocessing, COCO-format data sets, transforms, loaders, the digits set."""
