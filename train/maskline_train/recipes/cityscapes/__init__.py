"""Cityscapes, as in the paper's appendix."""
