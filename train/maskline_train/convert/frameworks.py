"""Which framework, and which kind of its networks, a state dict belongs to, by its names alone.

To read one more: a folder beside this file, and its sign moves from what is refused to what is read.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

Framework = Literal["detectron", "detectron2", "maskrcnn_benchmark", "mmdetection", "torchvision"]

_TWO = "only a box head of shared layers and a mask head of convolutions are supported"
# The first that fits counts. A sign is a pattern that some name begins with.
_REFUSED = (
    (r"box_head\.class_logits\.", "maskline's own weights", "give their checkpoint folder to `--init` or to export"),
    (r"sem_seg_head\.", "a panoptic network of detectron2", "only its instance branches could come over"),
    (r"roi_heads\.box_head\.0\.fc", "a Cascade R-CNN of detectron2", "a cascade of box heads is not supported"),
    (r"head\.cls_subnet\.", "a RetinaNet of detectron2", "only two-stage networks are supported"),
    (
        r".*\.conv2(_|\.|\.conv_)offset\.",
        "a network with deformable convolutions",
        "they are not supported: it would take an operator that samples by offsets, in training and in every runtime",
    ),
    (
        r".*\.relative_position_bias_table$|backbone\.(patch_embed|stages)\.",
        "a network with a Swin body",
        "only ResNet bodies are supported: it would take a body of attention in shifted windows",
    ),
    (
        r"backbone\.(bottom_up\.)?stem\.(\d|conv1_1|conv2)\.",
        "a network with a ResNet-D body",
        "it would take a stem of three convolutions and shortcuts that average before they project",
    ),
    (
        r"roi_head\.(bbox|mask)_head\.0\.",
        "a Cascade R-CNN of mmdetection",
        "a cascade of box heads is not supported",
    ),
    (
        r"(semantic_head|panoptic_\w+)\.",
        "a panoptic network of mmdetection",
        "only boxes and masks are supported",
    ),
    (r"roi_head\.(mask_iou|point|grid|glbctx|semantic)_head\.", "a network of mmdetection with further heads", _TWO),
    (
        r"roi_head\.bbox_head\.(res_block|fc_branch|conv_branch|(cls|reg)_(convs|fcs))\.",
        "a network of mmdetection with a divided box head",
        _TWO,
    ),
    (
        r"backbone\.(stage2|transition1)\.",
        "a network with an HRNet body",
        "only ResNet and ResNeXt bodies are supported",
    ),
    (
        r"neck\.(downsample_convs|pafpn_convs|\d\.)",
        "a network of mmdetection with another neck",
        "only FPN is supported",
    ),
    (
        r"bbox_head\.(\d\.)?fc_cls\.",
        "a network of mmdetection 1.x",
        "its boxes are a pixel wider, its background is the first class; only 2.x and 3.x are read",
    ),
    (r"bbox_head\.", "a one-stage network of mmdetection", "only two-stage networks are supported"),
    (
        r"backbone\.body\.\d+\.",
        "a network of torchvision with a MobileNet body",
        "only ResNet bodies are supported: it would take a body of inverted residuals with squeeze-and-excitation, and "
        "levels of strides 32, 32 and 64",
    ),
    (r"head\.(classification|regression)_head\.", "a one-stage network of torchvision", "two stages are supported"),
    (r"rpn\.head\.cls_tower\.", "a RetinaNet of maskrcnn-benchmark", "only two-stage networks are supported"),
    (r"retnet_cls_", "a RetinaNet of Detectron", "only two-stage networks are supported"),
    (r"(layer1\.0\.conv1|fc)\.weight", "a ResNet classifier", "give it to `maskline-train fit --init` as it is"),
)
_READ: tuple[tuple[str, Framework], ...] = (
    (r"proposal_generator\.rpn_head\.", "detectron2"),
    (r"roi_heads\.(box|mask|keypoint)\.(feature_extractor|predictor)\.", "maskrcnn_benchmark"),
    (r"rpn_head\.rpn_(conv|cls|reg)\.", "mmdetection"),
    (r"rpn\.head\.", "torchvision"),
    (r"conv_rpn(_fpn2)?_w$", "detectron"),
)
_EXPECTED = "expected a Mask R-CNN of detectron2, mmdetection, torchvision, maskrcnn-benchmark or Detectron"


def recognise(names: Collection[str]) -> Framework:
    """The framework of a state dict.

    Raises:
        ValueError: a network that is known and not supported, by its name, or nothing that is known.
    """
    for sign, network, why in _REFUSED:
        if _has(names, sign):
            raise ValueError(f"got {network}, {_EXPECTED}; {why}")
    framework = foreign_framework(names)
    if framework is not None:
        return framework
    if _has(names, "conv1_w$"):
        raise ValueError(
            f"got blobs of Detectron without a region proposal network, {_EXPECTED}; an ImageNet classifier is a body "
            "alone, and a Fast R-CNN reads its proposals from a file"
        )
    raise ValueError(
        f"got {len(names)} tensors of no network that is known (first {next(iter(names), None)!r}), {_EXPECTED}"
    )


def foreign_framework(names: Collection[str]) -> Framework | None:
    """The framework whose networks have such names; None for ours and for any other."""
    return next((framework for sign, framework in _READ if _has(names, sign)), None)


def _has(names: Collection[str], sign: str) -> bool:
    pattern = re.compile(sign)
    return any(pattern.match(name) for name in names)
