"""`maskline::multiscale_roi_align` over the kernels, as training reaches them: on a GPU, and over the emulator's build
of the same C functions on host memory; beside PyTorch's own operators.
"""

from __future__ import annotations

from collections.abc import Iterator

import device
import pytest
import tolerances
import torch
from maskline_train.model.ops import roi_align
from maskline_train.model.ops.kernels import Kernels
from maskline_train.model.roi.by_level import gradients_by_level, pool_by_level
from maskline_train.model.roi.multiscale import multiscale_roi_align, roi_align_flat
from maskline_train.spec import RoIAlignSpec
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map_only

MODES = [
    RoIAlignSpec(mode=mode, sampling_ratio=ratio, canonical_size_px=64.0)
    for mode, ratio in (
        ("align_avg", 2),
        ("align_avg", 0),
        ("align_max", 2),
        ("align_max", 0),
        ("pool", 2),
        ("warp", 2),
        ("warp", 0),
    )
]
AVERAGES = [spec for spec in MODES if spec.mode in ("align_avg", "warp")]
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
SIDE, FIRST_LEVEL = 4, 3
BOXES = torch.tensor(
    [
        [3.0, 5.0, 30.0, 21.0],
        [-20.0, -9.0, 90.0, 133.0],  # leaves the map
        [0.0, 0.0, 0.0, 0.0],  # padding
        [10.3, 12.7, 140.1, 90.9],
        [61.5, 40.25, 100.0, 77.0],
    ]
)
IMAGES = torch.tensor([1, 0, 0, 1, 0])
# Gradients are sums of up to 16 bins of 5 boxes, each a product of two weights of at most 1 and of an incoming number
# of standard deviation 1: float32 as tolerances.ROI_ALIGN["torchvision"] says of positions; half types round sums below
# 8 to 11 and 8 bits, doubled.
GRADIENT_APART = {"float32": 1e-4, "float16": 4e-3, "bfloat16": 4e-2}


@pytest.fixture(params=["simt", device.CUDA_ROW])
def where(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Within: the ops of PyTorch run the kernels for tensors of this device."""
    if request.param == "simt":
        device.simt()
        kernels = Kernels(device.built(device.SIMT))
        monkeypatch.setattr(roi_align, "kernels_for", lambda _: kernels)
        yield "cpu"
    else:
        device.cuda()
        yield "cuda"


def pyramid(channels: int, dtype: torch.dtype, where: str = "cpu", layout: torch.memory_format | None = None):
    """Maps of 2 images, as the type rounds them; channels last unless told."""
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, channels, size, size, generator=generator).to(where, dtype) for size in (16, 8)]
    return [level.contiguous(memory_format=layout or torch.channels_last) for level in maps]


def by_torch(spec: RoIAlignSpec, maps: list[torch.Tensor], incoming: torch.Tensor):
    """Values and gradients of PyTorch's own operators in float32 on the CPU."""
    exact = [level.float().cpu() for level in maps]
    pooled = pool_by_level(exact, BOXES, IMAGES, spec, SIDE, FIRST_LEVEL)
    given = (incoming.float().cpu(), pooled.greatest, exact, BOXES, IMAGES, spec, FIRST_LEVEL)
    return pooled.values, gradients_by_level(*given)


@pytest.mark.parametrize(("channels", "layout"), [(8, torch.channels_last), (8, torch.contiguous_format), (3, None)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spec", MODES, ids=str)
def test_values_and_gradients_are_those_of_pytorchs_operators(spec, dtype, channels, layout, where) -> None:
    maps = [level.requires_grad_() for level in pyramid(channels, DTYPES[dtype], where, layout)]
    pooled = roi_align_flat(maps, BOXES.to(where), IMAGES.to(where), spec, SIDE, FIRST_LEVEL)
    incoming = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(1)).to(where, DTYPES[dtype])
    found = torch.autograd.grad(pooled, maps, incoming)
    values, gradients = by_torch(spec, [level.detach() for level in maps], incoming)
    assert pooled.dtype == DTYPES[dtype]
    assert float((pooled.detach().float().cpu() - values).abs().max()) <= tolerances.ROI_ALIGN[dtype]
    for mine, right, level in zip(found, gradients, maps, strict=True):
        assert mine.dtype == level.dtype
        assert float((mine.float().cpu() - right).abs().max()) <= GRADIENT_APART[dtype]
        assert bool(right.any())


@pytest.mark.parametrize("spec", [MODES[0], MODES[4]], ids=str)
def test_rows_of_images_one_after_the_other_need_no_index(spec, where) -> None:
    """What the kernels make of [B, R, 4] by themselves, and of the index that `multiscale_roi_align` makes of it."""
    maps = pyramid(8, torch.float32, where)
    boxes = BOXES[:4].reshape(2, 2, 4).to(where)
    pooled = multiscale_roi_align(maps, boxes, spec, SIDE, FIRST_LEVEL)
    images = torch.tensor([0, 0, 1, 1])
    expected = pool_by_level([level.cpu() for level in maps], BOXES[:4], images, spec, SIDE, FIRST_LEVEL).values
    assert torch.allclose(pooled.cpu(), expected, rtol=0, atol=tolerances.ROI_ALIGN["float32"])


def test_a_box_of_no_image_is_zero_and_gives_no_gradient(where) -> None:
    """Where PyTorch's operators would read other memory."""
    maps = [level.requires_grad_() for level in pyramid(8, torch.float32, where)]
    images = torch.tensor([2, -1, 0, 7, 2**40], device=where)
    pooled = roi_align_flat(maps, BOXES.to(where), images, MODES[0], SIDE, FIRST_LEVEL)
    assert not pooled.any()
    assert not any(gradient.any() for gradient in torch.autograd.grad(pooled.sum(), maps))


@pytest.mark.parametrize("spec", AVERAGES, ids=str)
def test_deterministic_gradients_are_the_same_bytes_and_right(spec, where) -> None:
    boxes = (BOXES + torch.rand(40, 1, 4, generator=torch.Generator().manual_seed(2))).reshape(-1, 4)  # many meet
    images = IMAGES.repeat(40)
    maps = [level.requires_grad_() for level in pyramid(8, torch.float32, where)]
    pooled = roi_align_flat(maps, boxes.to(where), images.to(where), spec, SIDE, FIRST_LEVEL)
    incoming = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(1)).to(where)
    torch.use_deterministic_algorithms(True)
    try:
        runs = []
        for seed in (0, 1):  # of the order in which the emulator's threads and blocks take their turns
            device.simt(seed)
            runs.append(torch.autograd.grad(pooled, maps, incoming, retain_graph=True))
    finally:
        torch.use_deterministic_algorithms(False)
        device.simt(0)
    assert all(torch.equal(*pair) for pair in zip(*runs, strict=True))
    exact = [level.detach().cpu() for level in maps]
    nothing = torch.zeros(0, dtype=torch.int64)
    expected = gradients_by_level(incoming.cpu(), nothing, exact, boxes, images, spec, FIRST_LEVEL)
    for mine, right in zip(runs[0], expected, strict=True):  # 40 times as many terms as elsewhere, of either sign
        assert torch.allclose(mine.cpu(), right, rtol=0, atol=40**0.5 * GRADIENT_APART["float32"])


def test_no_box_at_all(where) -> None:
    maps = [level.requires_grad_() for level in pyramid(8, torch.float32, where)]
    nothing = torch.zeros(0, 4, device=where), torch.zeros(0, dtype=torch.int64, device=where)
    for spec in MODES:
        pooled = roi_align_flat(maps, *nothing, spec, SIDE, FIRST_LEVEL)
        assert pooled.shape == (0, 8, SIDE, SIDE)
        assert not any(gradient.any() for gradient in torch.autograd.grad(pooled.sum(), maps))


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("spec", [MODES[0], MODES[1], MODES[2], MODES[4]], ids=str)
def test_fake_tensors_lie_in_memory_as_real_ones_do(spec, kernels, layout, monkeypatch) -> None:
    """The compiler plans by them; PyTorch's opcheck does not look at strides."""
    found = Kernels(device.built(device.SIMT)) if kernels else None
    monkeypatch.setattr(roi_align, "kernels_for", lambda _: found)
    settings = (spec.sampling_ratio, spec.aligned, spec.canonical_size_px, spec.canonical_level, spec.mode)
    given = (pyramid(8, torch.bfloat16, layout=layout), BOXES, IMAGES, SIDE, FIRST_LEVEL, *settings)

    def both(given):
        pooled = roi_align.multiscale_roi_align_op(*given)
        return *pooled, *roi_align.multiscale_roi_align_backward_op(*pooled, *given)

    real = both(given)
    with FakeTensorMode() as mode:
        fake = both(tree_map_only(torch.Tensor, mode.from_tensor, given))
    seen = [[(tensor.shape, tensor.stride(), tensor.dtype) for tensor in each] for each in (real, fake)]
    assert seen[0] == seen[1]


def test_what_is_beyond_the_kernels_is_pytorchs(where) -> None:
    """float64, for gradient checks, and more sampling points than the kernels have room for."""
    boxes, images = BOXES.to(where), IMAGES.to(where)
    for dtype, ratio in ((torch.float64, 2), (torch.float32, 17)):
        spec = RoIAlignSpec(sampling_ratio=ratio, canonical_size_px=64.0)
        maps = pyramid(3, dtype, where)
        pooled = roi_align_flat(maps, boxes, images, spec, SIDE, FIRST_LEVEL)
        assert torch.equal(pooled, pool_by_level(maps, boxes, images, spec, SIDE, FIRST_LEVEL).values)
