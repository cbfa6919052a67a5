"""What detectron2 finds in a picture, by its rules, in torch's and torchvision's own calls; nothing of ours is run.

Letters: N boxes, C channels, K foreground classes, M side of a mask.
Ref: detectron2/modeling (backbone/resnet.py, backbone/fpn.py, proposal_generator, poolers.py, roi_heads) and
layers/mask_ops.py.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torchvision.ops import batched_nms, box_convert, clip_boxes_to_image, roi_align

_MAX_LOG = math.log(1000 / 16)


@dataclasses.dataclass(frozen=True)
class Found:
    """What was found: features by name, the best boxes of the RPN [R, 4] on the canvas; [N, 4], [N], [N], [N, h, w]."""

    features: dict[str, Tensor]
    proposals: Tensor
    boxes: Tensor
    scores: Tensor
    classes: Tensor
    masks: Tensor | None


class Reference:
    """A network, by detectron2's names of weights and its settings by their full names."""

    def __init__(self, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
        self.tensors, self.config = tensors, config
        self.pyramid = config["MODEL.BACKBONE.NAME"] == "build_resnet_fpn_backbone"
        self.body = "backbone.bottom_up." if self.pyramid else "backbone."
        self.c4 = config["MODEL.ROI_HEADS.NAME"] == "Res5ROIHeads"

    def conv(self, x: Tensor, name: str, stride: int = 1, dilation: int = 1, groups: int = 1) -> Tensor:
        """A convolution that keeps the size at stride 1, and its norm."""
        kernel, bias = self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias")
        x = functional.conv2d(x, kernel, bias, stride, dilation * (kernel.shape[-1] // 2), dilation, groups)
        if f"{name}.norm.weight" not in self.tensors:
            return x
        gain, shift = (self.tensors[f"{name}.norm.{part}"] for part in ("weight", "bias"))
        if f"{name}.norm.running_var" not in self.tensors:
            return functional.group_norm(x, 32, gain, shift)
        mean, variance = (self.tensors[f"{name}.norm.running_{part}"] for part in ("mean", "var"))
        return functional.batch_norm(x, mean, variance, gain, shift)

    def stage(self, x: Tensor, before: str, number: int) -> Tensor:
        dilation = self.config["MODEL.RESNETS.RES5_DILATION"] if number == 5 else 1
        for block in range((3, 4, 6, 3)[number - 2]):
            stride = 1 if block or number == 2 or dilation == 2 else 2
            first, second = (stride, 1) if self.config["MODEL.RESNETS.STRIDE_IN_1X1"] else (1, stride)
            name = f"{before}res{number}.{block}"
            hidden = functional.relu(self.conv(x, f"{name}.conv1", first))
            groups = self.config["MODEL.RESNETS.NUM_GROUPS"]
            hidden = functional.relu(self.conv(hidden, f"{name}.conv2", second, dilation, groups))
            shortcut = x if block else self.conv(x, f"{name}.shortcut", stride)
            x = functional.relu(self.conv(hidden, f"{name}.conv3") + shortcut)
        return x

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """What RPN and heads read, by detectron2's names."""
        x = functional.max_pool2d(functional.relu(self.conv(x, f"{self.body}stem.conv1", 2)), 3, 2, 1)
        stages = {}
        for number in (2, 3, 4) if self.c4 else (2, 3, 4, 5):
            x = stages[f"res{number}"] = self.stage(x, self.body, number)
        if not self.pyramid:
            return {name: stages[name] for name in self.config["MODEL.RPN.IN_FEATURES"]}
        levels: dict[str, Tensor] = {}
        above: Tensor | None = None
        for level in (5, 4, 3, 2):
            lateral = self.conv(stages[f"res{level}"], f"backbone.fpn_lateral{level}")
            above = lateral if above is None else lateral + functional.interpolate(above, scale_factor=2)
            levels[f"p{level}"] = self.conv(above, f"backbone.fpn_output{level}")
        levels["p6"] = functional.max_pool2d(levels["p5"], 1, 2)
        return dict(sorted(levels.items()))

    def canvas(self, image: np.ndarray) -> tuple[Tensor, tuple[int, int]]:
        """[1, 3, H, W] normalised and padded, and the size of the picture in it."""
        height, width = image.shape[:2]
        shorter, longer = (self.config[f"INPUT.{side}_SIZE_TEST"] for side in ("MIN", "MAX"))
        sides = [shorter / min(height, width) * side for side in (height, width)]
        if max(sides) > longer:
            sides = [side * longer / max(sides) for side in sides]
        new = (int(sides[0] + 0.5), int(sides[1] + 0.5))
        resized = np.asarray(Image.fromarray(image).resize(new[::-1], Image.Resampling.BILINEAR))
        pixels = torch.from_numpy(resized.copy()).permute(2, 0, 1).float()
        pixels = pixels.flip(0) if self.config["INPUT.FORMAT"] == "BGR" else pixels
        mean, std = (torch.tensor(self.config[f"MODEL.PIXEL_{name}"])[:, None, None] for name in ("MEAN", "STD"))
        multiple = 32 if self.pyramid else 1
        right, below = (-side % multiple for side in new[::-1])
        return functional.pad((pixels - mean) / std, (0, right, 0, below))[None], new

    def proposals(self, features: Mapping[str, Tensor], size: tuple[int, int]) -> Tensor:
        boxes, scores, levels = [], [], []
        for level, name in enumerate(self.config["MODEL.RPN.IN_FEATURES"]):
            logits, deltas = self.rpn(features[name])
            best = logits.topk(min(len(logits), self.config["MODEL.RPN.PRE_NMS_TOPK_TEST"])).indices
            anchors = self.anchors(level, features[name].shape[-2:])
            boxes.append(decoded(deltas[best], anchors[best], self.config["MODEL.RPN.BBOX_REG_WEIGHTS"]))
            scores.append(logits[best])
            levels.append(torch.full((len(best),), level))
        found, of_found, of_level = torch.cat(boxes), torch.cat(scores), torch.cat(levels)
        found = clip_boxes_to_image(found, size)
        good = (found[:, 2:] > found[:, :2]).all(1)
        found, of_found, of_level = found[good], of_found[good], of_level[good]
        kept = batched_nms(found, of_found, of_level, self.config["MODEL.RPN.NMS_THRESH"])
        return found[kept[: self.config["MODEL.RPN.POST_NMS_TOPK_TEST"]]]

    def rpn(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [N] and deltas [N, 4] of a level, by row, column and anchor."""
        head = "proposal_generator.rpn_head."
        names = [f"{head}conv"] if f"{head}conv.weight" in self.tensors else [f"{head}conv.conv0", f"{head}conv.conv1"]
        for name in names:
            x = functional.relu(self.conv(x, name))
        logits, deltas = self.conv(x, f"{head}objectness_logits")[0], self.conv(x, f"{head}anchor_deltas")[0]
        return logits.permute(1, 2, 0).reshape(-1), deltas.permute(1, 2, 0).reshape(-1, 4)

    def anchors(self, level: int, size: Sequence[int]) -> Tensor:
        """[N, 4] of a level, by row, column, size and ratio."""
        stride = 4 * 2**level if self.pyramid else 16
        cells = []
        for side in self.config["MODEL.ANCHOR_GENERATOR.SIZES"][level]:
            for ratio in self.config["MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS"][0]:
                width = side / math.sqrt(ratio)
                cells.append([-width / 2, -width * ratio / 2, width / 2, width * ratio / 2])
        rows, columns = torch.meshgrid(*(torch.arange(side) * float(stride) for side in size), indexing="ij")
        places = torch.stack([columns, rows, columns, rows], dim=2).reshape(-1, 1, 4)
        return (places + torch.tensor(cells)).reshape(-1, 4)

    def pooled(self, features: Mapping[str, Tensor], boxes: Tensor, head: str) -> Tensor:
        """[N, C, M, M]."""
        side, sampling, kind = (
            self.config[f"MODEL.ROI_{head}_HEAD.POOLER_{name}"] for name in ("RESOLUTION", "SAMPLING_RATIO", "TYPE")
        )
        names = self.config["MODEL.ROI_HEADS.IN_FEATURES"]
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        level = torch.floor(4 + torch.log2(area.sqrt() / 224 + 1e-8)).clamp(2, 5) - 2 if self.pyramid else 0 * area
        channels = features[names[0]].shape[1]
        found = torch.zeros(len(boxes), channels, side, side)
        for number, name in enumerate(names):
            rows = level == number
            scale = 1 / (4 * 2**number if self.pyramid else 16)
            found[rows] = roi_align(features[name], [boxes[rows]], side, scale, sampling, kind == "ROIAlignV2")
        return self.stage(found, "roi_heads.", 5) if self.c4 else found

    def box_head(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scores [N, K + 1] and deltas [N, K or 1, 4]."""
        if self.c4:
            x = x.mean((2, 3))
        else:
            for number in range(self.config["MODEL.ROI_BOX_HEAD.NUM_CONV"]):
                x = functional.relu(self.conv(x, f"roi_heads.box_head.conv{number + 1}"))
            x = x.flatten(1)
            for number in range(self.config["MODEL.ROI_BOX_HEAD.NUM_FC"]):
                x = functional.relu(self.linear(x, f"roi_heads.box_head.fc{number + 1}"))
        scores, deltas = (self.linear(x, f"roi_heads.box_predictor.{name}") for name in ("cls_score", "bbox_pred"))
        return scores.softmax(1), deltas.view(len(x), -1, 4)

    def linear(self, x: Tensor, name: str) -> Tensor:
        return functional.linear(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])

    def mask_head(self, x: Tensor, classes: Tensor) -> Tensor:
        """Probabilities [N, M, M] of each one's class."""
        head = "roi_heads.mask_head."
        for number in range(0 if self.c4 else self.config["MODEL.ROI_MASK_HEAD.NUM_CONV"]):
            x = functional.relu(self.conv(x, f"{head}mask_fcn{number + 1}"))
        up = functional.conv_transpose2d(x, self.tensors[f"{head}deconv.weight"], self.tensors[f"{head}deconv.bias"], 2)
        logits = self.conv(functional.relu(up), f"{head}predictor")
        return logits[torch.arange(len(x)), classes if logits.shape[1] > 1 else 0 * classes].sigmoid()

    @torch.no_grad()
    def answer(self, image: np.ndarray) -> Found:
        """What is found in a picture [h, w, 3] RGB uint8; boxes in it, masks of its size."""
        canvas, size = self.canvas(image)
        features = self.features(canvas)
        proposals = self.proposals(features, size)
        scores, deltas = self.box_head(self.pooled(features, proposals, "BOX"))
        count = scores.shape[1] - 1
        moved = decoded(deltas, proposals[:, None], self.config["MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS"])
        moved = clip_boxes_to_image(moved, size).expand(-1, count, 4)
        rows, classes = torch.nonzero(scores[:, :-1] > self.config["MODEL.ROI_HEADS.SCORE_THRESH_TEST"], as_tuple=True)
        boxes, of_boxes = moved[rows, classes], scores[rows, classes]
        kept = batched_nms(boxes, of_boxes, classes, self.config["MODEL.ROI_HEADS.NMS_THRESH_TEST"])
        kept = kept[: self.config["TEST.DETECTIONS_PER_IMAGE"]]
        boxes, of_boxes, classes = boxes[kept], of_boxes[kept], classes[kept]
        height, width = image.shape[:2]
        scale = torch.tensor([width / size[1], height / size[0]] * 2)
        in_image = clip_boxes_to_image(boxes * scale, (height, width))
        masks = None
        if self.config["MODEL.MASK_ON"]:
            head = "BOX" if self.c4 else "MASK"
            cells = self.mask_head(self.pooled(features, boxes, head), classes)
            masks = pasted(cells, in_image, height, width)
        good = (in_image[:, 2:] > in_image[:, :2]).all(1)
        masks = None if masks is None else masks[good]
        return Found(features, proposals, in_image[good], of_boxes[good], classes[good], masks)


def decoded(deltas: Tensor, boxes: Tensor, weights: Sequence[float]) -> Tensor:
    """Boxes [..., 4] moved by deltas [..., 4]."""
    boxes, deltas = box_convert(boxes, "xyxy", "cxcywh"), deltas / torch.tensor(weights)
    centres = deltas[..., :2] * boxes[..., 2:] + boxes[..., :2]
    sides = deltas[..., 2:].clamp(max=_MAX_LOG).exp() * boxes[..., 2:]
    return torch.cat([centres - sides / 2, centres + sides / 2], dim=-1)


def pasted(cells: Tensor, boxes: Tensor, height: int, width: int) -> Tensor:
    """Masks [N, h, w] of probabilities [N, M, M] at the centres of pixels."""
    x0, y0, x1, y1 = (edge[:, None] for edge in boxes.unbind(1))
    across = (torch.arange(width) + 0.5 - x0) / (x1 - x0) * 2 - 1
    down = (torch.arange(height) + 0.5 - y0) / (y1 - y0) * 2 - 1
    grid = torch.stack([across[:, None].expand(-1, height, -1), down[:, :, None].expand(-1, -1, width)], dim=3)
    return functional.grid_sample(cells[:, None], grid, align_corners=False)[:, 0] >= 0.5
