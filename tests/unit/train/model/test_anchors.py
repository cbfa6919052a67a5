"""Anchors: hand-checked numbers, torchvision's generator, and the conventions of ModelSpec."""

import pytest
import torch
from maskline_train.model.anchors import cell_anchors, level_anchors, pyramid_anchors
from maskline_train.model.backbone.backbone import STRIDES
from maskline_train.spec import AnchorSpec
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList


def test_one_cell_by_hand():
    # 32 px at ratio 4: twice as high and half as wide as a square of the same area, 64 x 16
    anchors = cell_anchors((32.0,), AnchorSpec(aspect_ratios=(1.0, 4.0, 0.25)))
    assert anchors.tolist() == [[-16, -16, 16, 16], [-8, -32, 8, 32], [-32, -8, 32, 8]]


def test_ratios_keep_the_area():
    anchors = cell_anchors((100.0,), AnchorSpec(aspect_ratios=(0.1, 0.5, 1.0, 3.0)))
    sides = anchors[:, 2:] - anchors[:, :2]
    assert torch.allclose(sides.prod(dim=1), torch.tensor(1e4), rtol=1e-6)  # float32
    assert torch.allclose(sides[:, 1] / sides[:, 0], torch.tensor([0.1, 0.5, 1.0, 3.0]))


def test_rounding_moves_corners_to_whole_pixels():
    rounded = cell_anchors((32.0,), AnchorSpec(rounded=True))
    exact = cell_anchors((32.0,), AnchorSpec(rounded=False))
    assert torch.equal(rounded, rounded.round())
    assert not torch.equal(rounded, exact)
    assert (rounded - exact).abs().max() <= 0.5


def test_a_level_is_flattened_by_row_then_column_then_anchor():
    spec = AnchorSpec(aspect_ratios=(1.0, 4.0))
    anchors = level_anchors((2, 3), (8, 8), (16.0,), spec).reshape(2, 3, 2, 4)
    for y in range(2):
        for x in range(3):
            shift = torch.tensor([8.0 * x, 8.0 * y, 8.0 * x, 8.0 * y])
            assert torch.equal(anchors[y, x], cell_anchors((16.0,), spec) + shift)


@pytest.mark.parametrize("offset", [0.0, 0.5, 1.0])
def test_centre_offset_is_in_strides(offset):
    anchors = level_anchors((1, 1), (16, 16), (32.0,), AnchorSpec(aspect_ratios=(1.0,), centre_offset=offset))
    assert (anchors[0, :2] + anchors[0, 2:]).div(2).tolist() == [16 * offset, 16 * offset]


def both(size, **changes):
    """Anchors of a canvas by us and by torchvision."""
    spec = AnchorSpec(rounded=True, **changes)
    logits = [torch.zeros(1, 3, -(-size[0] // stride), -(-size[1] // stride)) for stride in STRIDES]
    generator = AnchorGenerator(tuple((int(px),) for px in spec.sizes_px), (spec.aspect_ratios,) * 5)
    theirs = generator(ImageList(torch.zeros(1, 3, *size), [size]), logits)[0]
    return torch.cat(pyramid_anchors(logits, spec)), theirs


@pytest.mark.parametrize("size", [(64, 128), (128, 64), (192, 320)])
def test_rounded_anchors_are_torchvisions(size):
    ours, theirs = both(size)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("size", [(96, 64), (160, 224)])
def test_only_p6_differs_from_torchvision_where_64_does_not_divide_the_canvas(size):
    # torchvision divides the canvas by the cells, e.g. 800 // 13 = 61 for P6; every cell of ours is 64 px apart
    ours, theirs = both(size)
    num_p6 = 3 * (-(-size[0] // 64)) * (-(-size[1] // 64))
    assert torch.equal(ours[:-num_p6], theirs[:-num_p6])
    assert not torch.equal(ours[-num_p6:], theirs[-num_p6:])


@pytest.mark.parametrize("size", [(96, 64), (160, 224), (128, 64), (32, 32), (800, 1344)])
def test_anchors_of_the_cells_stride_are_torchvisions_on_every_canvas(size):
    ours, theirs = both(size, stride_of_cells=True)
    assert torch.equal(ours, theirs)


def test_the_full_canvas_has_the_known_number_of_anchors():
    logits = [torch.zeros(1, 3, 800 // stride, -(-1344 // stride)) for stride in STRIDES[:4]]
    logits.append(torch.zeros(1, 3, 13, 21))  # P6 subsamples the 25 x 42 cells of P5
    assert sum(len(level) for level in pyramid_anchors(logits, AnchorSpec())) == 268_569
