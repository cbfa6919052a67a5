"""Masks on COCO: the paper's baselines, ablation bases and its best model."""
