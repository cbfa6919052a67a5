"""The best pixel of enlarged heatmaps: torchvision's own function, and how many patches it takes to be sure."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from maskline_train.model.heads import enlarged_heatmap
from maskline_train.model.heads.enlarged_heatmap import PATCHES, best_enlarged
from maskline_train.model.heads.keypoint_head import decode_heatmaps
from torch import Tensor
from torch.nn import functional
from torchvision.models.detection.roi_heads import heatmaps_to_keypoints

SIDE, POINTS, BOXES = 56, 6, 30


def gaussians(width: float) -> Callable[[torch.Generator], Tensor]:
    def make(generator: torch.Generator) -> Tensor:
        at = torch.rand(BOXES, POINTS, 2, 1, generator=generator) * SIDE
        squares = (torch.arange(SIDE) + 0.5 - at) ** 2 / (2 * width**2)  # some centres lie beyond the outermost cells'
        return -(squares[:, :, 0, None, :] + squares[:, :, 1, :, None])

    return make


def noise(cells: int, mode: str, strength: float = 1.0) -> Callable[[torch.Generator], Tensor]:
    def make(generator: torch.Generator) -> Tensor:
        small = torch.randn(BOXES, POINTS, cells, cells, generator=generator) * strength
        return small if cells == SIDE else functional.interpolate(small, size=(SIDE, SIDE), mode=mode)

    return make


HEATMAPS = {
    "sharp": gaussians(0.8),
    "usual": gaussians(3.0),
    "broad": gaussians(25.0),
    "noise": noise(SIDE, ""),  # a peak in every other cell
    "many peaks": noise(14, "bilinear"),  # as the head's own last layers make them
    "nearly flat": noise(SIDE, "", 1e-3),
    "high": noise(28, "bilinear", 30.0),
}
EACH = pytest.mark.parametrize("make", HEATMAPS.values(), ids=HEATMAPS)


def some_boxes(generator: torch.Generator) -> Tensor:
    """Sides from nothing to a canvas, a strip of each direction, whole pixels and fractions."""
    sides = torch.exp(torch.rand(BOXES, 2, generator=generator) * math.log(400))
    sides[:8] = torch.tensor(
        [[0.0, 0.0], [0.4, 30.0], [1000.0, 2.3], [1.0, 900.0], [56.0, 56.0], [112.0, 28.0], [20.0, 300.0], [7.5, 7.5]]
    )
    corners = torch.rand(BOXES, 2, generator=generator) * 300
    return torch.cat([corners, corners + sides], dim=1)


def enlarged(heatmap: Tensor, box: Tensor) -> Tensor:
    """[J, h, w]: what detectron2 and torchvision search."""
    width, height = (int(side) for side in (box[2:] - box[:2]).clamp(min=1).ceil())
    return functional.interpolate(heatmap[:, None], size=(height, width), mode="bicubic", align_corners=False)[:, 0]


@EACH
def test_points_and_values_are_torchvision_s(make: Callable[[torch.Generator], Tensor]) -> None:
    generator = torch.Generator().manual_seed(11)
    heatmaps, boxes = make(generator), some_boxes(generator)
    expected, values = heatmaps_to_keypoints(heatmaps, boxes)
    points, best = best_enlarged(heatmaps, boxes, longest_px=1000)
    # Sums of 16 products in another order, of weights whose places are rounded at up to 56 cells (4e-6 of one).
    rounding = 1e-4 * (1 + heatmaps.abs().amax(dim=(2, 3)))
    assert ((best - values).abs() <= rounding).all()
    far = (points - expected[..., :2]).abs().amax(dim=2) > 1e-3
    assert far.float().mean() <= 0.05
    for n, j in far.nonzero().tolist():  # another pixel, then, which is as good but for rounding
        box, pixels = boxes[n], enlarged(heatmaps[n], boxes[n])[j]
        sizes = (box[2:] - box[:2]).clamp(min=1)
        x, y = ((points[n, j] - box[:2]) / (sizes / sizes.ceil()) - 0.5).round().int().tolist()
        assert pixels.max() - pixels[y, x] <= rounding[n, j]


def patches(pixels: int, shift: float) -> Tensor:
    """The patch of each pixel along an axis, moved by so many cells."""
    place = (torch.arange(pixels) + 0.5) * (SIDE / pixels) - 0.5
    return (torch.floor(place + shift).long() + 1).clamp(0, SIDE)


@EACH
def test_no_patch_that_is_left_out_could_have_been_better(
    make: Callable[[torch.Generator], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the bounds, those above the best pixel; and none of them is broken by a pixel."""
    seen: list[Tensor] = []
    bounds = enlarged_heatmap._bounds
    monkeypatch.setattr(enlarged_heatmap, "_bounds", lambda *given: seen.append(bounds(*given)) or seen[-1])
    generator = torch.Generator().manual_seed(12)
    heatmaps, boxes = make(generator), some_boxes(generator)
    _, best = best_enlarged(heatmaps, boxes, longest_px=1000)
    rounding = 1e-4 * (1 + heatmaps.abs().amax(dim=(2, 3)))
    assert ((seen[0] > (best + rounding)[..., None, None]).sum(dim=(2, 3)) <= PATCHES).all()
    for n in range(BOXES):
        pixels = enlarged(heatmaps[n], boxes[n])
        # A pixel between two patches, but for rounding, counts to either.
        of_pixel = torch.stack(
            [
                seen[0][n][:, patches(pixels.shape[1], up)][:, :, patches(pixels.shape[2], left)]
                for up in (-1e-4, 1e-4)
                for left in (-1e-4, 1e-4)
            ]
        )
        assert (pixels <= of_pixel.amax(dim=0) + rounding[n, :, None, None]).all()


def test_the_scores_of_both_sources() -> None:
    generator = torch.Generator().manual_seed(13)
    heatmaps, boxes = HEATMAPS["many peaks"](generator) * 5, some_boxes(generator)
    logit = decode_heatmaps(heatmaps, boxes, "bicubic", "logit")
    softmax = decode_heatmaps(heatmaps, boxes, "bicubic", "softmax")
    assert torch.equal(logit[..., :2], softmax[..., :2])
    for n in range(BOXES):
        best = enlarged(heatmaps[n], boxes[n]).flatten(1).max(dim=1).values
        # float32 logits of up to 20: an ulp is 2e-6, and sums of 16 products
        torch.testing.assert_close(logit[n, :, 2], best, rtol=0, atol=1e-3)
        # exp(best) over the sum of the 56 x 56 cells, as structures/keypoints.py has it
        expected = best.double().exp() / heatmaps[n].double().exp().sum(dim=(1, 2))
        torch.testing.assert_close(softmax[n, :, 2].double(), expected, rtol=2e-3, atol=0)


def test_no_box_has_no_points() -> None:
    found = decode_heatmaps(torch.zeros(0, 3, SIDE, SIDE), torch.zeros(0, 4), "bicubic", "logit")
    assert found.shape == (0, 3, 3)
