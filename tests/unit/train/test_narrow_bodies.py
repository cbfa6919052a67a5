"""Bodies of few channels train on two threads: torch's oneDNN destroyed memory there, and the process with it."""

import os
import subprocess
import sys

import torch
from maskline_train.model.backbone.resnet import NarrowStridedConv, ResNet
from maskline_train.spec import BackboneSpec

# The first block of res3 takes what a canvas leads to: its pixels are channels last, and so is every activation. With
# the convolution of before, all of 72 processes (three blocks, two memory formats, twelve seeds) died within 17 steps.
TRAIN = """
import torch
from maskline_train.model.backbone.resnet import build_stage
from maskline_train.spec import BackboneSpec
torch.set_num_threads(2)
for channels, spec in (
    (8, BackboneSpec(depth=18, base_channels=8, norm="group")),
    (4, BackboneSpec(depth=18, base_channels=4, norm="frozen_batch")),
    (8, BackboneSpec(depth=50, base_channels=2, norm="batch", stride_in_1x1=True)),  # a block's first one strides too
):
    torch.manual_seed(0)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        block = build_stage(spec, 1)[0].to(memory_format=memory_format)
        for _ in range(50):
            x = torch.rand(3, 24, 24, channels).permute(0, 3, 1, 2).requires_grad_()
            block(x).square().mean().backward()
        print("survived", spec.norm, flush=True)
"""


def test_narrow_blocks_survive_their_training_on_two_threads():
    # Two threads that wait for a busy processor sleep instead of spinning: the test is fast on a loaded machine, too.
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run([sys.executable, "-c", TRAIN], env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == [
        word for norm in ("group", "frozen_batch", "batch") for word in ("survived", norm) * 2
    ]


def test_picking_the_pixels_first_is_the_same_convolution():
    """In float64 to its rounding; 4 channels, 9 x 12 pixels, a stride that leaves a row over."""
    torch.manual_seed(0)
    conv = NarrowStridedConv(4, 6, 1, stride=2, bias=False).double()
    x = torch.rand(2, 4, 9, 12, dtype=torch.float64)
    expected = torch.nn.functional.conv2d(x, conv.weight, stride=2)
    assert expected.shape == (2, 6, 5, 6)
    assert conv(x).requires_grad
    torch.testing.assert_close(conv(x), expected, rtol=0, atol=1e-15)  # 4 products below 0.5, 2**-53 of each
    with torch.no_grad():
        assert torch.equal(conv(x), expected)


def test_only_narrow_strided_pointwise_convolutions_are_touched():
    def touched(spec):
        return [name for name, part in ResNet(spec).named_modules() if isinstance(part, NarrowStridedConv)]

    assert touched(BackboneSpec(depth=18, base_channels=8)) == ["layer2.0.downsample.0"]
    assert touched(BackboneSpec(depth=18, base_channels=16)) == []
    assert touched(BackboneSpec(depth=50)) == []
    assert touched(BackboneSpec(depth=50, base_channels=2, stride_in_1x1=True)) == [
        "layer2.0.conv1",
        "layer2.0.downsample.0",
    ]
