"""MultiscaleRoIAlign: numpy reference, torch path, and both ONNX bodies against the float64 oracle."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import reference
import torch
from maskline_export.custom_ops import multiscale_roi_align as roi_align_op
from maskline_export.custom_ops.multiscale_roi_align import MultiscaleRoIAlign
from maskline_export.errors import ContractError
from maskline_train.model.roi.multiscale import multiscale_roi_align
from maskline_train.spec import RoIAlignSpec
from support.export.onnx_ops import Array, float32, run_op

# Values are of order one. A coordinate is rounded at 2^-24 of its size, up to 64 cells here, in each of a handful of
# operations; the slope of the map is of order one per cell.
TOLERANCE = 3e-5

BASE = MultiscaleRoIAlign((4, 8, 16, 32), 56.0, 4, 3, 2, aligned=True)


def features_for(height: int, width: int, batch: int, seed: int = 0) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [float32(rng.standard_normal((batch, 2, height // s, width // s))) for s in BASE.strides]


def random_boxes(batch: int, count: int, seed: int = 1) -> Array:
    """Boxes of 1 to 150 px around a 96 x 128 canvas, some partly outside."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(-20, 110, (batch, count, 2))
    return float32(np.concatenate([start, start + rng.uniform(1, 150, (batch, count, 2))], axis=-1))


def by_oracle(op: MultiscaleRoIAlign, boxes: Array, features: list[Array]) -> Array:
    rows = [
        reference.multiscale_roi_align(
            [feature[image] for feature in features],
            box,
            op.strides,
            op.pooled_side,
            op.sampling_ratio,
            op.aligned,
            op.canonical_size,
            op.canonical_level,
            mode=op.mode,
        )
        for image, image_boxes in enumerate(boxes.astype(np.float64))
        for box in image_boxes
    ]
    return np.stack(rows)


def by_torch(op: MultiscaleRoIAlign, boxes: Array, features: list[Array]) -> Array:
    first_level = int(math.log2(op.strides[0]))
    spec = RoIAlignSpec(op.sampling_ratio, op.aligned, op.canonical_size, op.canonical_level, op.mode)
    maps = [torch.from_numpy(feature) for feature in features]
    return multiscale_roi_align(maps, torch.from_numpy(boxes), spec, op.pooled_side, first_level).numpy()


def all_agree(op: MultiscaleRoIAlign, boxes: Array, features: list[Array]) -> Array:
    """Check the four implementations against the oracle and return the oracle's answer."""
    expected = by_oracle(op, boxes, features)
    found = {"numpy": roi_align_op.reference(op, boxes, features), "torch": by_torch(op, boxes, features)}
    if op.sampling_ratio > 0 or op.mode != "align_max":
        found["ort"] = run_op(roi_align_op.body_ort(op), op, [boxes, *features])[0]
        found["dense"] = run_op(roi_align_op.body_dense(op), op, [boxes, *features])[0]
    for name, pooled in found.items():
        assert pooled.dtype == np.float32, name
        np.testing.assert_allclose(pooled, expected, atol=TOLERANCE, rtol=0, err_msg=name)
    return expected


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_boxes_of_all_levels(batch: int) -> None:
    boxes = random_boxes(batch, 6)
    levels = {reference.level_of(box, 56.0, 4, 2, 5) for box in boxes.reshape(-1, 4)}
    assert batch == 1 or levels == {2, 3, 4, 5}
    all_agree(BASE, boxes, features_for(96, 128, batch))


@pytest.mark.parametrize(
    "change",
    [
        {"aligned": False},  # torchvision's models: no half pixel, sides of at least one cell
        {"sampling_ratio": 1},  # one point a bin: no averaging
        {"sampling_ratio": 3},  # odd
        {"sampling_ratio": 0},  # adaptive: another number of points for each box and axis
        {"sampling_ratio": 0, "aligned": False},  # a box without size counts as one of one cell
        {"pooled_side": 1},  # one bin
        {"canonical_size": 224.0},  # everything on the finest level
        {"canonical_size": 4.0},  # everything on the coarsest level
        {"mode": "align_max"},  # the paper's: first interpolated, then the maximum
        {"mode": "align_max", "aligned": False, "sampling_ratio": 3},
        {"mode": "align_max", "sampling_ratio": 0},  # adaptive: no body of static shapes
        {"mode": "pool"},  # RoIPool
        {"mode": "pool", "strides": (4,), "pooled_side": 5},  # one level, as C4 has it
        {"mode": "warp"},  # RoIWarp
        {"mode": "warp", "aligned": False, "sampling_ratio": 3},
        {"mode": "warp", "sampling_ratio": 0},
    ],
    ids=str,
)
def test_every_attribute_counts(change: dict[str, float]) -> None:
    op = dataclasses.replace(BASE, **change)
    boxes, features = random_boxes(2, 4), features_for(96, 128, 2)
    expected = all_agree(op, boxes, features[: len(op.strides)])
    base = by_oracle(BASE, boxes, features)
    assert expected.shape != base.shape or np.abs(expected - base).max() > 10 * TOLERANCE


def test_one_box_of_the_smallest_canvas() -> None:
    """P5 of a 32 x 32 canvas is a single cell."""
    all_agree(BASE, float32([[[0, 0, 32, 32], [4, 4, 6, 6], [0, 0, 120, 120]]]), features_for(32, 32, 1))


def test_boxes_without_area_give_zeros() -> None:
    boxes = float32([[[5, 5, 5, 40], [5, 5, 40, 5], [0, 0, 0, 0], [40, 40, 20, 20], [5, 5, 40, 40]]])
    expected = all_agree(BASE, boxes, features_for(96, 128, 1))
    assert not expected[:4].any()
    assert expected[4].any()


def test_only_padding() -> None:
    assert not all_agree(BASE, float32(np.zeros((2, 5, 4))), features_for(96, 128, 2)).any()


def test_boxes_outside_the_frame() -> None:
    boxes = float32([[[-90, -90, -30, -30], [300, 10, 360, 60], [-3, 20, 2, 40], [120, 90, 160, 130]]])
    expected = all_agree(BASE, boxes, features_for(96, 128, 1))
    assert not expected[:2].any()


def test_levels_change_at_powers_of_two() -> None:
    """A box of exactly 28, 56 or 112 px is on the upper level; one a tenth of a pixel smaller is on the lower one."""
    sides = [14.0, 27.9, 28.0, 55.9, 56.0, 111.9, 112.0, 500.0]
    boxes = float32([[[3, 3, 3 + side, 3 + side] for side in sides]])
    levels = [reference.level_of(box, 56.0, 4, 2, 5) for box in boxes[0].astype(np.float64)]
    assert levels == [2, 2, 3, 3, 4, 4, 5, 5]
    marks = [float32(np.full((1, 1, 64, 64), level)) for level in (2, 3, 4, 5)]
    inside = dataclasses.replace(BASE, canonical_size=56.0, pooled_side=1)
    assert all_agree(inside, boxes, marks)[:, 0, 0, 0].round(4).tolist() == levels


def test_equal_boxes_of_different_images_read_their_own_image() -> None:
    features = features_for(96, 128, 2)
    pooled = all_agree(BASE, float32([[[10, 10, 70, 50]]] * 2), features)
    assert np.abs(pooled[0] - pooled[1]).max() > 0.1


def test_a_constant_map_gives_the_constant() -> None:
    features = [np.full_like(feature, 3.0) for feature in features_for(96, 128, 1)]
    pooled = all_agree(BASE, float32([[[10, 10, 70, 50], [40, 40, 44, 44]]]), features)
    np.testing.assert_allclose(pooled, 3.0, rtol=1e-6)


@pytest.mark.parametrize("change", [{"sampling_ratio": 0}, {"mode": "pool"}], ids=str)
def test_a_level_that_is_not_a_boxs_own_adds_nothing_whatever_it_holds(change: dict[str, Any]) -> None:
    """The dense body of a number of samples that depends on the box reads all levels and keeps one."""
    op = dataclasses.replace(BASE, **change)
    features = features_for(96, 128, 1)
    boxes = float32([[[4, 4, 30, 30]]])  # on the finest level
    for feature in features[1:]:
        feature[...] = np.nan
    assert np.isfinite(run_op(roi_align_op.body_dense(op), op, [boxes, *features])[0]).all()


def test_the_maximum_of_adaptive_samples_has_no_body() -> None:
    op = dataclasses.replace(BASE, mode="align_max", sampling_ratio=0)
    for body in (roi_align_op.body_ort, roi_align_op.body_dense):
        with pytest.raises(ContractError, match=r"got mode align_max with sampling_ratio 0.*expected"):
            body(op)
