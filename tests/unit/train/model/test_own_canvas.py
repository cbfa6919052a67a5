"""Networks on canvases that no stride divides: C4 and C5 bodies without padding."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from maskline_train.model.anchors import pyramid_anchors
from maskline_train.model.backbone.backbone import Backbone
from maskline_train.model.draws import image_keys
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.spec import ModelSpec, PreprocessingSpec, RoIAlignSpec
from maskline_train.target import Target
from support.models.tiny import tiny_model, tiny_spec
from support.models.variants import VARIANTS
from torch.nn import functional
from torchvision.models import resnet18

UNPADDED = PreprocessingSpec(96, 160, (), canvas_multiple=1)


def unpadded(name: str) -> ModelSpec:
    return dataclasses.replace(VARIANTS[name], preprocessing=UNPADDED, roi_align=RoIAlignSpec())


def canvas_of(height: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """An image that fills its canvas, and its image_info."""
    pixels = np.random.default_rng(seed).integers(0, 256, (1, height, width, 3), np.uint8)
    return torch.from_numpy(pixels), torch.tensor([[height, width, 1.0, 1.0, height, width]])


@pytest.mark.parametrize(("name", "level"), [("c4_warp_softmax", 4), ("c5_max_mlp_agnostic", 5)])
def test_a_level_has_a_cell_for_each_stride_that_begins(name: str, level: int) -> None:
    spec, rng = unpadded(name), np.random.default_rng(level)
    backbone = Backbone(spec.backbone, spec.preprocessing).eval()
    for height, width in [(1, 1), (16, 17), (96, 160), *rng.integers(1, 161, (12, 2)).tolist()]:
        with torch.no_grad():
            (features,) = backbone(*canvas_of(height, width))
        starts = [len(range(0, side, 2**level)) for side in (height, width)]
        assert list(features.shape) == [1, spec.backbone.feature_channels, *starts]


def test_an_unpadded_body_is_torchvisions() -> None:
    """torchvision's ResNet knows nothing of canvases: the picture alone, normalised."""
    torch.manual_seed(0)
    theirs = resnet18().eval()
    spec = unpadded("c4_warp_softmax")
    ours = Backbone(dataclasses.replace(spec.backbone, base_channels=64), spec.preprocessing).eval()
    kept = {key: value for key, value in theirs.state_dict().items() if not key.startswith(("layer4", "fc"))}
    ours.body.load_state_dict(kept)
    canvas, info = canvas_of(75, 101)
    x = ours.normalise(canvas, info)
    with torch.no_grad():
        (found,) = ours(canvas, info)
        x = functional.max_pool2d(theirs.relu(theirs.bn1(theirs.conv1(x))), 3, 2, 1)
        expected = theirs.layer3(theirs.layer2(theirs.layer1(x)))
    assert expected.shape[2:] == (5, 7)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_anchors_lie_on_every_cell() -> None:
    spec = unpadded("c4_warp_softmax")
    (anchors,) = pyramid_anchors([torch.zeros(1, 9, 5, 7)], spec.anchors, 4)
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    assert torch.unique(centres[:, 1]).tolist() == [0.0, 16.0, 32.0, 48.0, 64.0]
    assert torch.unique(centres[:, 0]).tolist() == [16.0 * x for x in range(7)]


@pytest.mark.parametrize("name", ["c4_warp_softmax", "c5_max_mlp_agnostic"])
def test_it_trains_without_padding(name: str) -> None:
    model = MaskRCNN(unpadded(name))
    canvas, info = canvas_of(97, 61)
    masks = torch.zeros(1, 97, 61, dtype=torch.uint8)
    masks[:, 20:60, 10:50] = 1
    target = Target(torch.tensor([[10.0, 20, 50, 60]]), torch.tensor([1]), masks)
    losses = model(canvas, info, [target], image_keys(0, 0, range(len(canvas))))
    sum(losses.values()).backward()
    assert {name: bool(torch.isfinite(loss)) for name, loss in losses.items()} == dict.fromkeys(losses, True)
    assert model.backbone.body.conv1.weight.grad.abs().max() > 0


def test_an_answer_lies_in_the_image() -> None:
    found = tiny_model(unpadded("c4_warp_softmax")).detect(*canvas_of(75, 101))
    count = int(found.num_detections[0])
    assert count > 3
    assert bool((found.boxes[0, :count] <= torch.tensor([101.0, 75, 101, 75])).all())


@pytest.mark.parametrize(
    ("multiple", "made", "other"), [(32, (32, 96), (48, 96)), (64, (64, 128), (64, 96)), (96, (96, 192), (64, 192))]
)
def test_a_canvas_that_preprocessing_never_makes_is_refused(
    multiple: int, made: tuple[int, int], other: tuple[int, int]
) -> None:
    spec = PreprocessingSpec(96, 160, (), canvas_multiple=multiple)
    model = tiny_model(dataclasses.replace(tiny_spec(), preprocessing=spec))
    model.detect(*canvas_of(*made))
    with pytest.raises(ValueError, match=rf"canvas: got {other[0]} x {other[1]}, expected multiples of {multiple}"):
        model.detect(*canvas_of(*other))
