"""maskrcnn-benchmark's names of weights as detectron2's, by which the rest of the import goes.

Ref: maskrcnn_benchmark/modeling: backbone/resnet.py, backbone/fpn.py, rpn/rpn.py, roi_heads/*/roi_*_feature_extractors
and predictors; `make_conv3x3` and `make_fc` of make_layers.py put a group norm behind a layer, `.1` after `.0`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor

_Replacement = str | Callable[[re.Match[str]], str]
_SHARED = re.compile(r"roi_heads\.mask\.feature_extractor\.head\.")  # the fifth stage again: one module, saved twice
_CELLS = re.compile(r"rpn\.anchor_generator\.cell_anchors\.(\d+)")
_STACKED = "roi_heads.box.feature_extractor.xconvs."


def _level(match: re.Match[str]) -> str:
    """Pyramid levels are counted from 1 there, from 2 in detectron2."""
    kind = {"inner": "lateral", "layer": "output"}[match["kind"]]
    return f"backbone.fpn_{kind}{int(match['level']) + 1}.{_norm(match)}"


def _block(match: re.Match[str]) -> str:
    body = "roi_heads." if match["roi"] else "backbone.{body}"
    return f"{body}res{int(match['layer']) + 1}.{match['block']}."


def _norm(match: re.Match[str]) -> str:
    return "norm." if match["norm"] == "1." else ""


def _numbered(before: str, shift: int = 0) -> Callable[[re.Match[str]], str]:
    """A layer of a head, and its norm."""
    return lambda match: f"{before}{int(match['index']) + shift}.{_norm(match)}"


_LAYER = r"(?P<norm>[01]\.)?"
_BEGINNINGS: tuple[tuple[str, _Replacement], ...] = (
    (r"backbone\.body\.stem\.conv1\.", "backbone.{body}stem.conv1."),
    (r"backbone\.body\.stem\.bn1\.", "backbone.{body}stem.conv1.norm."),
    (
        r"(backbone\.body\.|(?P<roi>roi_heads\.box\.feature_extractor\.head\.))layer(?P<layer>\d)\.(?P<block>\d+)\.",
        _block,
    ),
    (rf"backbone\.fpn\.fpn_(?P<kind>inner|layer)(?P<level>\d)\.{_LAYER}", _level),
    (r"rpn\.head\.conv\.", "proposal_generator.rpn_head.conv."),
    (r"rpn\.head\.cls_logits\.", "proposal_generator.rpn_head.objectness_logits."),
    (r"rpn\.head\.bbox_pred\.", "proposal_generator.rpn_head.anchor_deltas."),
    (rf"roi_heads\.box\.feature_extractor\.fc(?P<index>[67])\.{_LAYER}", _numbered("roi_heads.box_head.fc", -5)),
    (r"roi_heads\.box\.predictor\.(cls_score|bbox_pred)\.", r"roi_heads.box_predictor.\1."),
    (
        rf"roi_heads\.mask\.feature_extractor\.mask_fcn(?P<index>\d+)\.{_LAYER}",
        _numbered("roi_heads.mask_head.mask_fcn"),
    ),
    (r"roi_heads\.mask\.predictor\.conv5_mask\.", "roi_heads.mask_head.deconv."),
    (r"roi_heads\.mask\.predictor\.mask_fcn_logits\.", "roi_heads.mask_head.predictor."),
    (
        rf"roi_heads\.keypoint\.feature_extractor\.conv_fcn(?P<index>\d+)\.{_LAYER}",
        _numbered("roi_heads.keypoint_head.conv_fcn"),
    ),
    (r"roi_heads\.keypoint\.predictor\.kps_score_lowres\.", "roi_heads.keypoint_head.score_lowres."),
)
_OF_A_BLOCK = (
    (r"\.downsample\.0\.", ".shortcut."),
    (r"\.downsample\.1\.", ".shortcut.norm."),
    (r"\.bn(\d)\.", r".conv\1.norm."),
)


def cell_anchors(tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """The anchors of a cell that the file holds, finest level first, [A, 4] each; empty without any.

    Raises:
        ValueError: of another shape.
    """
    found = sorted((int(match[1]), tensors[name]) for name in tensors if (match := _CELLS.fullmatch(name)))
    for index, cells in found:
        if cells.dim() != 2 or cells.shape[1] != 4 or not len(cells) or not cells.is_floating_point():
            name = f"rpn.anchor_generator.cell_anchors.{index}"
            raise ValueError(f"weight {name!r}: got {cells.dtype} of shape {list(cells.shape)}, expected floats [A, 4]")
    return [cells for _, cells in found]


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights by detectron2's names, without anchors.

    Raises:
        ValueError: a weight of no part that is known, or masks with a fifth stage of their own.
    """
    body = "bottom_up." if any(name.startswith("backbone.fpn.") for name in tensors) else ""
    _check_shared(tensors)
    stacked = _stacked(tensors)
    theirs = {
        stacked.get(name) or _renamed(name, body): tensor
        for name, tensor in tensors.items()
        if not _CELLS.fullmatch(name) and not _SHARED.match(name)
    }
    return theirs | _missing_biases(theirs)


def _missing_biases(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of fully connected layers, which have none before a norm there; ours have one."""
    layers = [name for name in theirs if re.fullmatch(r"roi_heads\.box_head\.fc\d\.weight", name)]
    return {
        bias: theirs[name].new_zeros(theirs[name].shape[:1])
        for name in layers
        if (bias := name.replace("weight", "bias")) not in theirs
    }


def _check_shared(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if _SHARED.match(name):
            of_boxes = tensors.get(name.replace("roi_heads.mask.", "roi_heads.box.", 1))
            if of_boxes is None or of_boxes.shape != tensor.shape or not torch.equal(of_boxes, tensor):
                raise ValueError(
                    f"weight {name!r}: got another than that of the box head, expected the same stage for boxes and "
                    "masks (MODEL.ROI_MASK_HEAD.SHARE_BOX_FEATURE_EXTRACTOR True); two stages are not supported"
                )


def _stacked(names: Collection[str]) -> dict[str, str]:
    """Convolutions of the box head, which count ReLUs, too, and norms where there are any."""
    found = sorted({int(name.removeprefix(_STACKED).split(".")[0]) for name in names if name.startswith(_STACKED)})
    norms = len(found) > 1 and found[1] == 1  # a convolution, its norm, a ReLU; or a convolution, a ReLU
    each = 3 if norms else 2
    places = {
        f"{_STACKED}{i}.": f"roi_heads.box_head.conv{i // each + 1}.{'norm.' * (norms and i % each == 1)}"
        for i in found
    }
    return {name: name.replace(place, theirs) for place, theirs in places.items() for name in names if place in name}


def _renamed(name: str, body: str) -> str:
    for pattern, replacement in _BEGINNINGS:
        theirs, count = re.subn(f"^{pattern}", replacement, name)
        if count:
            theirs = theirs.replace("{body}", body)
            return _part(theirs) if re.search(r"\.res\d\.", theirs) else theirs
    raise ValueError(f"weight {name!r}: of no part of a Mask R-CNN of maskrcnn-benchmark that is known")


def _part(name: str) -> str:
    for pattern, replacement in _OF_A_BLOCK:
        name, count = re.subn(pattern, replacement, name)
        if count:
            return name
    return name
