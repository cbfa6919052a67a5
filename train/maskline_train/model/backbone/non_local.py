"""The non-local block: every cell of a feature map reads from every other.

Letters: B images, C channels, N = Hi * Wi cells of the level, H W canvas.
Ref: Wang et al. 2018 (Non-local Neural Networks), equations 1, 4 and 6, figure 2: the embedded Gaussian, in its softmax
form; section 4.1 for its place; section 5 for its use in Mask R-CNN, one block in res4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

STRIDE = 16  # of res4


class NonLocal(nn.Module):
    """x + W_z softmax(theta(x)^T phi(x)) g(x), with `out` for W_z, which starts at zero: the block starts as identity.

    Differs: cells beyond the image are not read. The result of an image would else depend on how much padding its
    canvas has, which is another one when the batch is another one.
    Differs: no batch norm after W_z; it is frozen in detection and would hide a zero scale for ever.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 2)  # section 3.3: "half of the number of channels"
        self.theta = nn.Conv2d(channels, inner, 1)
        self.phi = nn.Conv2d(channels, inner, 1)
        self.g = nn.Conv2d(channels, inner, 1)
        self.out = nn.Conv2d(inner, channels, 1)
        for conv in (self.theta, self.phi, self.g):
            nn.init.normal_(conv.weight, std=0.01)  # as the authors' code
        nn.init.zeros_(self.out.weight)
        for conv in (self.theta, self.phi, self.g, self.out):
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor, image_info: Tensor | None = None) -> Tensor:
        """The block's output.

        Args:
            x: [B, C, ceil(H / 16), ceil(W / 16)].
            image_info: float32 [B, 6]; cells that start at or beyond the resized height or width are not read. None:
                all are.

        Returns:
            Of the shape of `x`.
        """
        query, key, value = self.theta(x).flatten(2), self.phi(x).flatten(2), self.g(x).flatten(2)  # [B, C/2, N]
        affinity = query.transpose(1, 2) @ key  # [B, N, N]
        if image_info is not None:
            affinity = affinity.masked_fill(~_in_image(x, image_info)[:, None], float("-inf"))
        read = value @ affinity.softmax(dim=2).transpose(1, 2)  # [B, C/2, N]
        out: Tensor = x + self.out(read.to(x.dtype).unflatten(2, x.shape[2:]))
        return out


def _in_image(x: Tensor, image_info: Tensor) -> Tensor:
    """[B, N] bool: the cell of x [B, C, Hi, Wi] covers a pixel of the image."""
    rows = torch.arange(x.shape[2], device=x.device) * STRIDE < image_info[:, 0:1]  # [B, Hi]
    columns = torch.arange(x.shape[3], device=x.device) * STRIDE < image_info[:, 1:2]  # [B, Wi]
    return (rows[:, :, None] & columns[:, None, :]).flatten(1)
