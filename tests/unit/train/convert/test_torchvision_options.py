"""What torchvision's weights do not say: asked for, assumed with a reason, or refused where it contradicts them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from maskline_train.convert.options import ImportOptions
from maskline_train.convert.torchvision_weights import import_from_torchvision
from support.models import foreign
from torch import Tensor

V1, V2, KEYPOINTS = (
    f"torchvision_{name}" for name in ("maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2", "keypointrcnn_resnet50_fpn")
)


def weights_of(network: str, counters: bool = True) -> dict[str, Tensor]:
    """Zeros but for the variances, so that norms can be computed."""
    weights = foreign.weights(network)
    return {
        name: torch.ones(()).expand(tensor.shape) if name.endswith("running_var") else tensor
        for name, tensor in weights.items()
        if counters or not name.endswith("num_batches_tracked")
    }


def fails(weights: dict[str, Tensor], text: str, **options: object) -> None:
    with pytest.raises(ValueError, match=f"^[^\n]*{text}[^\n]*$"):
        import_from_torchvision(weights, ImportOptions(**options))  # type: ignore[arg-type]


def test_the_epsilon_of_frozen_norms_is_asked_for() -> None:
    weights = weights_of(V1, counters=False)
    fails(weights, "give --norm-eps 0 for torchvision's COCO weights")
    fails(weights, "--zoo-settings: torchvision's networks have none of that", norm_eps=0.0, zoo=True)
    fails(weights, "got 90 foreground classes, expected the 1 named", norm_eps=0.0, classes=("a",))
    fails(weights, "--keypoints: the weights have no keypoint branch", norm_eps=0.0, keypoints=("a",))
    fails(weights_of(V2), "--norm-eps: got 0, torchvision's _v2 networks add 1e-5; leave it out", norm_eps=0.0)


def test_counters_say_that_norms_are_ordinary_ones() -> None:
    said = import_from_torchvision(weights_of(V1), ImportOptions()).report
    assert "the batch norms are ordinary ones (they have counters), which add 1e-05" in said.found
    said = import_from_torchvision(weights_of(V1), ImportOptions(norm_eps=0.0)).report
    assert any("--norm-eps 0 as you say, though the batch norms have counters" in line for line in said.assumed)
    assert any("replace_stride_with_dilation looks the same and is not supported" in line for line in said.assumed)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e-5, 1.0])
def test_an_epsilon_that_is_none(value: float) -> None:
    with pytest.raises(ValueError, match=f"^--norm-eps: got {value}, expected from 0 to below 1"):
        ImportOptions(norm_eps=value)


def test_keypoints_are_counted_and_named() -> None:
    weights = weights_of(KEYPOINTS)
    imported = import_from_torchvision(weights, ImportOptions())
    assert "the 17 keypoints are those of COCO's person" in imported.report.assumed
    fails(weights, "--keypoints: got 2 names, the weights have 17 keypoints", keypoints=("a", "b"))
    for name, shape in (("weight", (512, 2, 4, 4)), ("bias", (2,))):
        weights[f"roi_heads.keypoint_predictor.kps_score_lowres.{name}"] = torch.zeros(shape)
    fails(weights, "keypoint names: the weights have 2 keypoints; give their names by --keypoints a,b")
    head = import_from_torchvision(weights, ImportOptions(keypoints=("tip", "tail"))).model.spec.keypoint_head
    assert head is not None
    assert (head.names, head.flip_pairs, head.sigmas) == (("tip", "tail"), (), ())


def test_a_wide_body_is_called_so(tmp_path: Path) -> None:
    weights = weights_of(V1)
    for name, tensor in weights.items():  # twice as wide inside of each block
        shape, inner = list(tensor.shape), re.match(r"backbone.body.layer.*\.(conv[123]|bn[12])\.", name)
        if inner is not None and tensor.dim():
            for axis, parts in ((0, ("conv1", "conv2", "bn1", "bn2")), (1, ("conv2", "conv3"))):
                if inner[1] in parts:
                    shape[axis] *= 2
            weights[name] = torch.ones(()).expand(shape)
    found = import_from_torchvision(weights, ImportOptions()).report.found
    assert any("Wide ResNet-50-2 FPN" in line for line in found)
