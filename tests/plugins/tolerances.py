"""The one table of how far a plugin op may be from its float64 oracle, each with its reason."""

from __future__ import annotations

# Absolute error of pooled features, for feature values of standard deviation 1, by the type of the features. The oracle
# reads the same rounded features, so only the sums (float32 everywhere) and the rounding of the result remain.
ROI_ALIGN = {
    "float32": 1e-5,  # coordinates of up to 1500 px in float32: 1e-4 px off, times a slope of about 1 a cell, averaged
    "float16": 4e-3,  # values up to 4 are rounded to 11 bits: 2e-3, doubled
    "bfloat16": 2e-2,  # to 8 bits: 1.6e-2
    # Both keep coordinates of up to 80 cells in float32 (an ulp is 7.6e-6 of a cell), some ulps off each other, times a
    # slope of up to 6 a cell.
    "torchvision": 1e-4,
    "onnxruntime": 1e-4,
}
BOXES_PX = 1e-3  # float32 coordinates up to 1500 px after exp, product and sum: some units in the last place (1.2e-4)
SCORES = 1e-6  # softmax in float32
