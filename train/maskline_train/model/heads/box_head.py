"""The box branch: its head, and `classwise_nms`, the torch path of the op `ClasswiseNMS`.

Letters: B images, R proposals an image, D detections an image, K foreground classes, C channels, P pooled side.
Ref: paper figure 4, right; FPN paper, section 4.2; Wu and He 2018, section 4.2, for convolutions before the layers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import nms

from maskline_train.model import boxes as box_ops
from maskline_train.model.heads.convolutions import build_convs, build_norms, convolved, initialise_conv
from maskline_train.spec import BoxHeadSpec


class BoxHead(nn.Module):
    """3 x 3 convolutions, fully connected layers `fc1`, `fc2`, ..., then class logits and class-wise box deltas.

    Convolutions and norms are `convs.i` and `norms.i`, the layers' norms `fc_norms.i`, all empty for the paper's head.
    """

    def __init__(self, channels: int, num_classes: int, spec: BoxHeadSpec) -> None:
        super().__init__()
        self.convs = build_convs(channels, spec.conv_channels, spec.num_convs, spec.norm)
        self.norms = build_norms(spec.conv_channels, spec.num_convs, spec.norm, spec.norm_groups)
        width = spec.conv_channels if spec.num_convs > 0 else channels
        inputs = [width * spec.pooled_side**2] + [spec.hidden] * (spec.num_fcs - 1)
        fcs = [nn.Linear(n, spec.hidden) for n in inputs]
        for number, layer in enumerate(fcs, start=1):
            self.add_module(f"fc{number}", layer)
        self.num_fcs = spec.num_fcs
        self.fc_norms = build_norms(spec.hidden, spec.num_fcs, spec.fc_norm, spec.norm_groups)
        self.class_logits = nn.Linear(spec.hidden, num_classes + 1)
        self.box_deltas = nn.Linear(spec.hidden, 4 * num_classes)
        for conv in self.convs:
            assert isinstance(conv, nn.Conv2d)
            initialise_conv(conv)
        for layer in fcs:
            nn.init.kaiming_uniform_(layer.weight, a=1)  # as Detectron: Caffe2's XavierFill
        nn.init.normal_(self.class_logits.weight, std=0.01)  # Fast R-CNN, section 3.1
        nn.init.normal_(self.box_deltas.weight, std=0.001)
        for layer in (*fcs, self.class_logits, self.box_deltas):
            nn.init.zeros_(layer.bias)

    def forward(self, roi_features: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits and box deltas of every RoI.

        Args:
            roi_features: [B * R, C, P, P].

        Returns:
            class_logits [B * R, K + 1], background last; box_deltas [B * R, 4K], columns 4k..4k+3 of class k.
        """
        hidden = convolved(roi_features, self.convs, self.norms).flatten(1)
        for number in range(1, self.num_fcs + 1):
            hidden = self.get_submodule(f"fc{number}")(hidden)
            if len(self.fc_norms) > 0:
                hidden = self.fc_norms[number - 1](hidden)
            hidden = functional.relu_(hidden)
        return self.class_logits(hidden), self.box_deltas(hidden)


@torch.no_grad()
def classwise_nms(
    class_logits: Tensor,
    box_deltas: Tensor,
    proposals: Tensor,
    num_proposals: Tensor,
    image_info: Tensor,
    spec: BoxHeadSpec,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Detections from the outputs of the box head; takes no gradient.

    Args:
        class_logits: [B * R, K + 1], background last.
        box_deltas: [B * R, 4K].
        proposals: [B, R, 4] float32 xyxy canvas px.
        num_proposals: [B] integers; rows past it are ignored.
        image_info: [B, 6].
        spec: thresholds, delta weights and D.

    Returns:
        boxes [B, D, 4] float32 xyxy canvas px, scores [B, D], labels [B, D] int64 and num_detections [B] int64.
        Best score first (ties: the lower proposal, then the lower class). Rows past the count: zero, label -1.
    """
    batch, num_rows = proposals.shape[:2]
    scores = class_logits.float().softmax(dim=1)[:, :-1].reshape(batch, num_rows, -1)  # [B, R, K]
    deltas = box_deltas.reshape(batch, num_rows, -1, 4)  # [B, R, K, 4]
    out_boxes = proposals.new_zeros((batch, spec.max_detections, 4))
    out_scores = proposals.new_zeros((batch, spec.max_detections))
    out_labels = torch.full((batch, spec.max_detections), -1, dtype=torch.int64, device=proposals.device)
    counts = torch.zeros(batch, dtype=torch.int64, device=proposals.device)
    for image in range(batch):
        rows = int(num_proposals[image])
        candidates = image_candidates(
            scores[image, :rows], deltas[image, :rows], proposals[image, :rows], image_info[image], spec
        )
        found = suppress(*candidates, spec)
        count = len(found[1])
        out_boxes[image, :count], out_scores[image, :count], out_labels[image, :count] = found
        counts[image] = count
    return out_boxes, out_scores, out_labels, counts


def image_candidates(
    scores: Tensor, deltas: Tensor, proposals: Tensor, image_info: Tensor, spec: BoxHeadSpec
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes [n, 4], scores [n] and labels [n] of one image before NMS, ordered by (proposal, class)."""
    rows, labels = torch.nonzero(scores > spec.score_thresh, as_tuple=True)  # ordered by (proposal, class)
    boxes = box_ops.decode_deltas(deltas[rows, labels], proposals[rows], spec.delta_weights)
    boxes = box_ops.clip_to_image(boxes, image_info)
    large = box_ops.has_min_side(boxes, spec.min_side_px)
    return boxes[large], scores[rows, labels][large], labels[large]


def suppress(boxes: Tensor, scores: Tensor, labels: Tensor, spec: BoxHeadSpec) -> tuple[Tensor, Tensor, Tensor]:
    """Class-wise NMS: the boxes [n, 4], scores [n] and labels [n] that are left of one image, n <= D, best first."""
    # Class by class, exactly: moving the classes apart by an offset instead would cost bits of the coordinates.
    keep = torch.zeros_like(labels, dtype=torch.bool)
    for label in torch.unique(labels):
        members = torch.nonzero(labels == label)[:, 0]
        keep[members[nms(boxes[members], scores[members], spec.nms_thresh)]] = True
    boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
    order = torch.sort(scores, descending=True, stable=True).indices[: spec.max_detections]
    return boxes[order], scores[order], labels[order]
