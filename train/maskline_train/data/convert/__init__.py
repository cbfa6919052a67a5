"""Data that were labelled elsewhere, turned into a COCO-format data set: a module a format, one that writes."""
