"""Mask targets of all images in one launch, beside torchvision's RoIAlign of one object after the other."""

from __future__ import annotations

import device
import pytest
import torch
from maskline_host import HostLibraryError
from maskline_train.model.ops.kernels import Kernels
from maskline_train.model.ops.roi_align_kernels import mask_targets
from torchvision.ops import roi_align

# x0, y0, width, height of objects' crops, and the RoIs of each: inside, leaving the crop on all sides, smaller than a
# pixel, hundreds of pixels wide, and two without an area.
WINDOWS = ((10, 12, 20, 30), (3, 4, 25, 20), (100, 50, 400, 70), (0, 0, 1, 1))
ROIS = {
    0: ((9.5, 10.0, 31.0, 44.0), (12.2, 15.7, 14.3, 20.0), (12.0, 13.0, 12.25, 13.25)),
    1: ((-40.0, -35.0, 60.0, 70.0), (3.0, 4.0, 28.0, 24.0)),
    2: (
        (101.0, 52.0, 499.0, 119.0),
        (90.0, 40.0, 510.0, 130.0),
        (300.0, 60.0, 300.0, 61.0),
        (300.0, 61.0, 301.0, 61.0),
    ),
    3: ((-1.0, -1.0, 2.0, 2.0),),
}
# Values are averages of 0 and 1; a position of up to 420 px is off by some units in the last place (3e-5 px), on a
# slope of at most 1 a pixel.
APART = 1e-4


@pytest.fixture(params=["simt", device.CUDA_ROW])
def kernels(request: pytest.FixtureRequest) -> tuple[Kernels, str]:
    """The library, and where its tensors are."""
    if request.param == "simt":
        device.simt()
        return Kernels(device.built(device.SIMT)), "cpu"
    device.cuda()
    return Kernels(device.built(device.CUDA)), "cuda"


def arguments() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pixels, starts, windows and boxes; every third row holds no object."""
    generator = torch.Generator().manual_seed(0)
    crops = [(torch.rand(w * h, generator=generator) > 0.5).to(torch.uint8) for _, _, w, h in WINDOWS]
    starts = torch.tensor([0, *(len(crop) for crop in crops)]).cumsum(0).tolist()
    rows = []
    for index, rois in ROIS.items():
        for roi in rois:
            rows += [(starts[index], WINDOWS[index], roi)]
            rows += [(0, (0, 0, 0, 0), (0.0, 0.0, 0.0, 0.0))] * (len(rows) % 3 == 2)
    return (
        torch.cat(crops),
        torch.tensor([row[0] for row in rows]),
        torch.tensor([row[1] for row in rows], dtype=torch.int32),
        torch.tensor([row[2] for row in rows]),
    )


def by_torchvision(pixels, starts, windows, boxes, side: int, aligned: bool) -> torch.Tensor:
    expected = torch.zeros(len(boxes), side, side)
    for row, (start, (x0, y0, width, height)) in enumerate(zip(starts.tolist(), windows.tolist(), strict=True)):
        if width > 0:
            crop = pixels[start : start + width * height].reshape(1, 1, height, width).float()
            moved = boxes[row : row + 1] - torch.tensor([x0, y0, x0, y0])
            expected[row] = roi_align(crop, [moved], side, 1.0, 0, aligned)[0, 0]
    return expected


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("side", [1, 14, 28, 56])
def test_targets_are_torchvisions(side: int, aligned: bool, kernels) -> None:
    library, where = kernels
    given = arguments()
    found = mask_targets(library, *(tensor.to(where) for tensor in given), side, aligned).cpu()
    expected = by_torchvision(*given, side, aligned)
    assert torch.allclose(found, expected, rtol=0, atol=APART)
    assert bool(expected.any())
    assert not found[given[2][:, 2] == 0].any()


def test_a_crop_outside_of_the_pixels_is_no_number(kernels) -> None:
    library, where = kernels
    pixels, starts, windows, boxes = (tensor.to(where) for tensor in arguments())
    starts = starts.clone()
    starts[0], starts[1] = -1, len(pixels) - 1
    found = mask_targets(library, pixels, starts, windows, boxes, 4, True)
    assert found[:2].isnan().all()
    assert not found[2:].isnan().any()


def test_no_row_and_sizes_that_are_refused(kernels) -> None:
    library, where = kernels
    pixels, starts, windows, boxes = (tensor.to(where) for tensor in arguments())
    assert mask_targets(library, pixels, starts[:0], windows[:0], boxes[:0], 28, True).shape == (0, 28, 28)
    with pytest.raises(HostLibraryError, match=r"MaskTargets: side: got 65, expected 1\.\.64"):
        mask_targets(library, pixels, starts, windows, boxes, 65, True)
