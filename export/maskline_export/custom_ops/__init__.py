"""Our ONNX ops, one file an op: attributes, function bodies, numpy reference."""

from maskline_export.custom_ops import classwise_nms, multiscale_roi_align, proposal_nms

# What exported graphs carry, by name. MaskRLE has no body and is in none.
NAMES = frozenset({multiscale_roi_align.NAME, proposal_nms.NAME, classwise_nms.NAME})
