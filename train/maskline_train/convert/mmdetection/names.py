"""mmdetection's names of weights, and ours.

Ref: mmdet/models: backbones/resnet.py, necks/fpn.py, dense_heads/rpn_head.py, roi_heads (bbox_heads, mask_heads,
shared_heads/res_layer.py); mmcv/cnn/bricks/conv_module.py, which calls a norm `bn` or `gn`.
"""

from __future__ import annotations

import re

# The beginnings of names; the first that fits counts.
_BEGINNINGS = (
    (r"backbone\.(?P<part>conv1|layer[1-4]\.\d+\.(?:conv\d|downsample\.\d))\.", r"backbone.body.\g<part>."),
    (r"backbone\.(?P<block>layer[1-4]\.\d+\.|)(?:bn|gn)(?P<number>\d)\.", r"backbone.body.\g<block>bn\g<number>."),
    (r"roi_head\.shared_head\.(?P<part>layer4\.\d+\.(?:conv\d|downsample\.\d))\.", r"res5.\g<part>."),
    (r"roi_head\.shared_head\.(?P<block>layer4\.\d+\.)(?:bn|gn)(?P<number>\d)\.", r"res5.\g<block>bn\g<number>."),
    (r"neck\.lateral_convs\.(\d)\.conv\.", r"backbone.fpn.lateral.\1."),
    (r"neck\.lateral_convs\.(\d)\.(?:bn|gn)\.", r"backbone.fpn.lateral_norms.\1."),
    (r"neck\.fpn_convs\.([0-3])\.conv\.", r"backbone.fpn.output.\1."),
    (r"neck\.fpn_convs\.([0-3])\.(?:bn|gn)\.", r"backbone.fpn.output_norms.\1."),
    (r"rpn_head\.rpn_conv\.0\.conv\.", "rpn_head.conv."),
    (r"rpn_head\.rpn_conv\.([1-9])\.conv\.", lambda match: f"rpn_head.more_convs.{int(match[1]) - 1}."),
    (r"rpn_head\.rpn_conv\.(?=weight|bias)", "rpn_head.conv."),
    (r"rpn_head\.rpn_cls\.", "rpn_head.logits."),
    (r"rpn_head\.rpn_reg\.", "rpn_head.deltas."),
    (r"roi_head\.bbox_head\.shared_convs\.(\d)\.conv\.", r"box_head.convs.\1."),
    (r"roi_head\.bbox_head\.shared_convs\.(\d)\.(?:bn|gn)\.", r"box_head.norms.\1."),
    (r"roi_head\.bbox_head\.shared_fcs\.(\d)\.", lambda match: f"box_head.fc{int(match[1]) + 1}."),
    (r"roi_head\.bbox_head\.fc_cls\.", "box_head.class_logits."),
    (r"roi_head\.bbox_head\.fc_reg\.", "box_head.box_deltas."),
    (r"roi_head\.mask_head\.convs\.(\d)\.conv\.", r"mask_head.convs.\1."),
    (r"roi_head\.mask_head\.convs\.(\d)\.(?:bn|gn)\.", r"mask_head.norms.\1."),
    (r"roi_head\.mask_head\.upsample\.", "mask_head.upsample."),
    (r"roi_head\.mask_head\.conv_logits\.", "mask_head.mask_logits."),
)


def renamed(name: str) -> str:
    """Our name of a weight.

    Raises:
        ValueError: a weight of no part that we know.
    """
    for pattern, replacement in _BEGINNINGS:
        ours, count = re.subn(f"^{pattern}", replacement, name)
        if count:
            return ours
    raise ValueError(
        f"weight {name!r}: of no part of a Faster or Mask R-CNN of mmdetection that is known; "
        "its network has a part that is not supported"
    )
