"""Boxes of first and last pixels in PyTorch, against the sources' rules in float64 (support/models/pixel_boxes.py)."""

import dataclasses

import numpy as np
import pytest
import torch
from maskline_train.evaluation.many_views import detect_augmented
from maskline_train.model.boxes import encode_deltas
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.model.pixel_boxes import clip_edges, corners_of, edges_of
from maskline_train.spec import ModelSpec
from maskline_train.target import Target
from support.models import pixel_boxes as rules
from support.models.tiny import tiny_model
from support.models.variants import VARIANTS

SIZE = (80, 90)  # of the picture on a canvas of 96 x 128: many anchors lie beyond it
# Coordinates of some hundred px in float32, eight roundings of half a unit in the last place, 2^-17 px, and an
# exponential of a logarithm whose last place is 2^-21 of a side of at most 128 px.
TOLERANCE_PX = 1e-3
TOLERANCE = 1e-4  # features of the order of 1 read at such coordinates

C4 = rules.pixel_spec(dataclasses.replace(VARIANTS["c4_warp_softmax"], roi_align=rules.pixel_spec().roi_align))
SPECS = {"fpn": rules.pixel_spec(), "c4": C4}


def looked_at(spec: ModelSpec, seed: int = 0) -> tuple[MaskRCNN, torch.Tensor, torch.Tensor]:
    """A model, a canvas of blobs and its image_info."""
    generator = torch.Generator().manual_seed(seed)
    blobs = torch.randint(0, 256, (1, 12, 16, 3), generator=generator, dtype=torch.uint8)
    canvas = blobs.repeat_interleave(8, dim=1).repeat_interleave(8, dim=2)
    return tiny_model(spec, seed), canvas, torch.tensor([[*SIZE, 1.0, 1.0, *SIZE]])


def in_order(boxes: np.ndarray) -> np.ndarray:
    """Rows by their coordinates: two of nearly equal scores may change places."""
    return boxes[np.lexsort(np.round(boxes, 1).T)]


def test_anchors_are_those_that_the_sources_print():
    # what `generate_anchors` of Detectron and maskrcnn-benchmark gives for 32 px at stride 4
    assert rules.cells(4, (32.0,)) == ((-22, -10, 25, 13), (-14, -14, 17, 17), (-10, -22, 13, 25))


def test_edges_and_corners_are_a_pixel_apart_and_padding_stays_zero():
    corners = torch.tensor([[2.0, 3.0, 4.0, 3.0]])
    assert edges_of(corners).tolist() == [[2.0, 3.0, 5.0, 4.0]]  # three pixels wide, one high
    assert corners_of(torch.tensor([[2.0, 3.0, 5.0, 4.0], [0.0] * 4])).tolist() == [[2.0, 3.0, 4.0, 3.0], [0.0] * 4]


def test_a_box_beyond_the_image_keeps_a_pixel():
    edges = torch.tensor([[-9.0, -9.0, -5.0, -5.0], [200.0, 40.0, 300.0, 81.5], [89.5, 79.5, 95.0, 95.0]])
    found = clip_edges(edges, torch.tensor([*SIZE, 1.0, 1.0, *SIZE]))
    assert found.tolist() == [[0, 0, 1, 1], [89, 40, 90, 80], [89, 79, 90, 80]]


@pytest.mark.parametrize("name", SPECS)
def test_proposals_are_the_sources(name):
    spec = SPECS[name]
    model, canvas, info = looked_at(spec)
    with torch.no_grad():
        logits, deltas = model.rpn_head(model.backbone(canvas, info))
        found, count = model.propose(logits, deltas, info)
    expected = rules.proposals(spec, logits, deltas, SIZE)
    assert len(expected) == int(count[0]) > 20
    corners = corners_of(found[0, : len(expected)]).double().numpy()
    np.testing.assert_allclose(in_order(corners), in_order(expected), atol=TOLERANCE_PX, rtol=0)
    assert found[0, len(expected) :].eq(0).all()


def test_proposals_beyond_the_image_are_kept_as_the_sources_keep_them():
    model, canvas, info = looked_at(SPECS["fpn"])
    with torch.no_grad():
        logits, deltas = model.rpn_head(model.backbone(canvas, info))
        deltas = [delta / 4 for delta in deltas]
        for delta in deltas:
            delta[:, 0::4] += 2.0  # two anchors to the right: many leave the image there, each in rows of its own
        found, count = model.propose(logits, deltas, info)
    expected = rules.proposals(model.spec, logits, deltas, SIZE)
    slivers = (expected[:, 2:] - expected[:, :2] < 1e-9).any(axis=1)
    assert slivers.sum() >= 3  # else the rule is not seen
    corners = corners_of(found[0, : int(count[0])]).double().numpy()
    np.testing.assert_allclose(in_order(corners), in_order(expected), atol=TOLERANCE_PX, rtol=0)


@pytest.mark.parametrize("name", SPECS)
def test_features_are_read_at_corners_from_the_level_of_the_sides(name):
    model, canvas, info = looked_at(SPECS[name])
    spec = model.spec
    boxes = rules.clipped(np.random.default_rng(3).uniform(-10, 100, (400, 4)), SIZE)
    boxes = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1)
    boxes[:4] = [[5, 5, 5, 5], [89, 0, 89, 79], [10, 10, 37.4, 37.4], [0, 79, 89, 79]]  # a pixel, columns, rows
    if name == "fpn":  # sides of 27.4 px are below half the canonical size, with a pixel more they are above
        assert (rules.levels_of(spec, boxes) != rules.levels_of(spec, boxes, more=0.0)).sum() >= 3
    with torch.no_grad():
        features = model.backbone(canvas, info)
        found = model.pool_boxes(features, edges_of(torch.from_numpy(boxes).float())[None], 7)
        expected = rules.pooled(spec, features, boxes, 7)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=TOLERANCE * float(expected.abs().max()), rtol=0)


def test_a_row_of_padding_reads_nothing():
    model, canvas, info = looked_at(SPECS["fpn"])
    with torch.no_grad():
        assert model.pool_boxes(model.backbone(canvas, info), torch.zeros(1, 3, 4), 7).eq(0).all()


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("seed", [0, 1])
def test_detections_are_the_sources(name, seed):
    model, canvas, info = looked_at(SPECS[name], seed)
    with torch.no_grad():
        found = model.detect(canvas, info)
        features = model.backbone(canvas, info)
        expected, scores, labels = rules.detections(
            model, features, rules.proposals(model.spec, *model.rpn_head(features), SIZE), SIZE
        )
    count = int(found.num_detections[0])
    assert count == len(expected) > 3
    boxes = found.boxes[0, :count].double().numpy()
    rows, others = (np.concatenate([kinds[:, None] * 1000, xyxy], axis=1) for kinds, xyxy in (
        (found.labels[0, :count].numpy(), boxes), (labels, expected)
    ))  # fmt: skip
    np.testing.assert_allclose(in_order(rows), in_order(others), atol=TOLERANCE_PX, rtol=0)
    np.testing.assert_allclose(found.scores[0, :count].numpy(), scores, atol=1e-4, rtol=0)  # softmax of such features
    assert boxes.max() <= max(SIZE) - 1
    assert found.boxes[0, count:].eq(0).all()


def test_masks_are_read_at_the_corners_of_their_box():
    model, canvas, info = looked_at(SPECS["fpn"])
    with torch.no_grad():
        found = model.detect(canvas, info)
        count, features = int(found.num_detections[0]), model.backbone(canvas, info)
        corners = found.boxes[0, :count].double().numpy()
        logits = model.mask_outputs(rules.pooled(model.spec, features, corners, 14).float())
    expected = logits.sigmoid()[torch.arange(count), found.labels[0, :count]]
    assert found.masks is not None
    # a sigmoid of logits that 1000 times larger weights have made
    np.testing.assert_allclose(found.masks[0, :count].numpy(), expected.numpy(), atol=5e-3, rtol=0)


def test_the_deltas_learned_are_those_that_the_sources_learn():
    # maskrcnn_benchmark's BoxCoder.encode on corners, TO_REMOVE = 1, against ours on edges
    anchor, box = np.array([[-22.0, -10.0, 25.0, 13.0]]), np.array([[3.0, 4.0, 30.0, 20.0]])
    deltas = encode_deltas(edges_of(torch.from_numpy(box)), edges_of(torch.from_numpy(anchor)))
    np.testing.assert_allclose(rules.decoded(deltas.double().numpy(), anchor), box, atol=1e-5)  # float32 at 30 px


def test_a_network_of_pixels_learns_its_picture():
    model, canvas, info = looked_at(SPECS["fpn"])
    masks = torch.zeros(1, 96, 128, dtype=torch.bool)
    masks[0, 20:50, 30:70] = True
    target = Target(torch.tensor([[30.0, 20.0, 70.0, 50.0]]), torch.tensor([1]), masks, None)
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    totals = []
    for _ in range(12):
        losses = model(canvas, info, [target], torch.zeros(1, 2, dtype=torch.int64))
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        totals.append(total.item())
    assert set(losses) == {"rpn_objectness", "rpn_box", "classifier", "box", "mask"}
    assert totals[-1] < 0.7 * totals[0], totals


def test_many_views_are_refused():
    model, canvas, _ = looked_at(SPECS["fpn"])
    with pytest.raises(ValueError, match=r"^many views: got a model with pixel_boxes, expected none"):
        detect_augmented(model, canvas[0].numpy())
