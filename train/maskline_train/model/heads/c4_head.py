"""The heads of the C4 features: the body's fifth stage, run on every RoI, and the box branch behind it.

Letters: N RoIs, K foreground classes, C channels of C4, P pooled side.
Ref: paper section 3, "Network Architecture", and figure 4, left; He et al. 2016, table 1, for the stage.
"""

from __future__ import annotations

from torch import Tensor, nn

from maskline_train.model.backbone.resnet import build_stage, initialise_convolutions
from maskline_train.spec import BackboneSpec


class Res5Stage(nn.Module):
    """Stage res5 of the body as a RoI head, shared by the box and the mask branch: 14 x 14 x 1024 to 7 x 7 x 2048.

    Its weights have torchvision's names behind the prefix `layer4.`, so that those of a classifier load.
    Differs: figure 4 draws 7 x 7 RoIs and a stage without stride; pooling 14 x 14 and keeping the stride, as the
    paper's released code does, gives the same output size.
    """

    def __init__(self, spec: BackboneSpec) -> None:
        super().__init__()
        self.layer4 = build_stage(spec, 3)
        self.frozen = spec.frozen_stages == 5
        initialise_convolutions(self)
        if self.frozen:
            self.requires_grad_(requires_grad=False)

    def forward(self, roi_features: Tensor) -> Tensor:
        """RoI features [N, C, P, P] to [N, 2C, ceil(P / 2), ceil(P / 2)]; N may be 0."""
        out: Tensor = self.layer4(roi_features)
        return out

    def train(self, mode: bool = True) -> Res5Stage:
        """Switch the mode, unless the stage is frozen: running statistics must not move then."""
        super().train(mode and not self.frozen)
        return self


class C4BoxHead(nn.Module):
    """Average pooling, then class logits and class-wise box deltas, on what `Res5Stage` gives."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.class_logits = nn.Linear(channels, num_classes + 1)
        self.box_deltas = nn.Linear(channels, 4 * num_classes)
        nn.init.normal_(self.class_logits.weight, std=0.01)  # Fast R-CNN, section 3.1
        nn.init.normal_(self.box_deltas.weight, std=0.001)
        for layer in (self.class_logits, self.box_deltas):
            nn.init.zeros_(layer.bias)

    def forward(self, roi_features: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits and box deltas of every RoI.

        Args:
            roi_features: [N, 2C, P, P] of `Res5Stage`.

        Returns:
            class_logits [N, K + 1], background last; box_deltas [N, 4K], columns 4k..4k+3 of class k.
        """
        hidden = roi_features.mean(dim=(2, 3))
        return self.class_logits(hidden), self.box_deltas(hidden)
