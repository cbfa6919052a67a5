"""The mask branch of fully connected layers, which table 2e compares with the convolutional one.

Letters: N RoIs, K foreground classes, C channels, P pooled side, M = 2P mask side.
Ref: paper section 4.2, "Mask Branch"; table 2e.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from maskline_train.spec import MaskHeadSpec


class MLPMaskHead(nn.Module):
    """Two hidden layers, then all cells of all masks at once: nothing in between keeps a place of its own."""

    def __init__(self, channels: int, num_classes: int, spec: MaskHeadSpec) -> None:
        super().__init__()
        self.side = spec.mask_side
        self.fc1 = nn.Linear(channels * spec.pooled_side**2, spec.hidden)
        self.fc2 = nn.Linear(spec.hidden, spec.hidden)
        self.mask_logits = nn.Linear(spec.hidden, spec.num_channels(num_classes) * self.side**2)
        for layer in (self.fc1, self.fc2):
            nn.init.kaiming_uniform_(layer.weight, a=1)  # as the box head
        nn.init.normal_(self.mask_logits.weight, std=0.001)  # as the convolutional head: one half everywhere
        for layer in (self.fc1, self.fc2, self.mask_logits):
            nn.init.zeros_(layer.bias)

    def forward(self, roi_features: Tensor) -> Tensor:
        """Mask logits [N, spec.num_channels(K), M, M] of RoI features [N, C, P, P]."""
        hidden = functional.relu_(self.fc1(roi_features.flatten(1)))
        hidden = functional.relu_(self.fc2(hidden))
        channels = self.mask_logits.out_features // self.side**2
        logits: Tensor = self.mask_logits(hidden).unflatten(1, (channels, self.side, self.side))
        return logits
