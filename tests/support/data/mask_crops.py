"""Whole masks as the data have them."""

import numpy as np
from maskline_train.data.masks.crops import MaskCrops, tight


def crops_of(masks: np.ndarray) -> MaskCrops:
    """[G, H, W] of 0 and 1."""
    return MaskCrops(tuple(tight(0, 0, mask) for mask in masks), masks.shape[1:])
