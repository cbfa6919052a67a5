"""The keypoint branch inside the whole network: losses, detections, any combination of branches."""

import dataclasses

import pytest
import torch
from maskline_train.model.draws import image_keys
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.model.sampling import SamplingSpec
from maskline_train.spec import KeypointHeadSpec, ModelSpec
from maskline_train.target import Target
from support.models.tiny import tiny_spec

NAMES = ("top", "left", "right")
HEAD = KeypointHeadSpec(names=NAMES, flip_pairs=(("left", "right"),), pooled_side=6, num_convs=2, channels=8)
SIZE = (96, 128)
BOXES_ONLY, KEYPOINTS, BOTH = (None, None), (None, HEAD), (tiny_spec().mask_head, HEAD)


def spec_of(branches: tuple) -> ModelSpec:
    return dataclasses.replace(tiny_spec(), mask_head=branches[0], keypoint_head=branches[1])


def model_of(branches: tuple, seed: int = 0) -> MaskRCNN:
    """Random weights whose last layers are scaled up, so that there are detections."""
    torch.manual_seed(seed)
    model = MaskRCNN(spec_of(branches), SamplingSpec(roi_samples=64)).eval()
    with torch.no_grad():
        model.rpn_head.logits.weight.mul_(300.0)
        model.box_head.class_logits.weight.mul_(30.0)
        model.box_head.box_deltas.weight.mul_(300.0)
    return model


def batch_of(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    canvas = torch.randint(0, 256, (count, *SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return canvas, torch.tensor([[*SIZE, 1.0, 1.0, *SIZE]]).expand(count, 6).contiguous()


def target_of(*points: list[list[float]], boxes: list | None = None) -> Target:
    """Objects of 40 px, the first at (20, 30), each with its three keypoints."""
    count = len(points)
    found = torch.tensor(boxes or [[20.0 + 45 * i, 30, 60 + 45 * i, 70] for i in range(count)]).reshape(count, 4)
    masks = torch.zeros(count, *SIZE, dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, found.int().tolist(), strict=True):
        mask[y0:y1, x0:x1] = 1
    keypoints = torch.tensor(points).float().reshape(count, len(NAMES), 3)
    return Target(found, torch.ones(count, dtype=torch.int64), masks, keypoints)


VISIBLE = [[40.0, 31, 2], [21, 69, 2], [59, 69, 1]]
HIDDEN = [[0.0, 0, 0]] * 3


@pytest.mark.parametrize("branches", [BOXES_ONLY, KEYPOINTS, BOTH])
def test_every_combination_trains_and_detects(branches: tuple) -> None:
    model = model_of(branches).train()
    losses = model(*batch_of(2), [target_of(VISIBLE), target_of()])
    wanted = ["mask"] * (branches[0] is not None) + ["keypoint"] * (branches[1] is not None)
    assert list(losses) == ["rpn_objectness", "rpn_box", "classifier", "box", *wanted]
    for name, loss in losses.items():
        assert loss.dtype == torch.float32
        assert 0 < loss.item() < 100, name
    torch.stack(list(losses.values())).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0 or "rpn" in name or "bias" in name, name
    found = model.eval().detect(*batch_of(2))
    assert (found.masks is None) == (branches[0] is None)
    assert (found.keypoints is None) == (branches[1] is None)


def test_the_branches_leave_the_boxes_alone() -> None:
    """With the same weights, boxes and scores are the same to the bit whatever other branches there are."""
    both = model_of(BOTH)
    for branches in (BOXES_ONLY, KEYPOINTS):
        other = model_of(branches)
        other.load_state_dict({k: v for k, v in both.state_dict().items() if k in other.state_dict()})
        one, two = both.detect(*batch_of(2)), other.detect(*batch_of(2))
        assert one.num_detections.min() > 3
        assert torch.equal(one.boxes, two.boxes)
        assert torch.equal(one.scores, two.scores)
    assert one.keypoints is not None
    assert two.keypoints is not None
    assert torch.equal(one.keypoints, two.keypoints)


def test_keypoints_lie_in_their_boxes_and_padding_rows_are_zero() -> None:
    found = model_of(KEYPOINTS).detect(*batch_of(3))
    assert found.keypoints is not None
    assert found.keypoints.shape == (3, 100, 3, 3)
    assert found.keypoints.dtype == torch.float32
    for image, count in enumerate(found.num_detections.tolist()):
        points, boxes = found.keypoints[image, :count], found.boxes[image, :count, None]
        assert (points[..., :2] >= boxes[..., :2] - 1e-4).all()
        assert (points[..., :2] <= boxes[..., 2:] + 1e-4).all()
        assert ((points[..., 2] > 0) & (points[..., 2] <= 1)).all()
        assert not found.keypoints[image, count:].any()


def test_an_image_does_not_depend_on_its_neighbours() -> None:
    model, (canvas, info) = model_of(KEYPOINTS), batch_of(3)
    canvas[1] = 0
    together = model.detect(canvas, info)
    assert together.keypoints is not None
    for image in range(3):
        alone = model.detect(canvas[image : image + 1], info[image : image + 1])
        assert alone.keypoints is not None
        assert torch.allclose(alone.keypoints[0], together.keypoints[image], atol=1e-4)


def test_no_detections_have_no_keypoints() -> None:
    model = model_of(KEYPOINTS)
    model.box_head.class_logits.bias.data[-1] = 1e4  # everything is background
    found = model.detect(*batch_of(2))
    assert found.num_detections.tolist() == [0, 0]
    assert found.keypoints is not None
    assert not found.keypoints.any()


def test_boxes_alone_can_be_asked_for() -> None:
    found = model_of(BOTH).detect(*batch_of(1), masks=False)
    assert found.masks is None
    assert found.keypoints is None


@pytest.mark.parametrize(
    "targets",
    [
        [target_of()],  # no person
        [target_of(HIDDEN)],  # a person without a labelled keypoint
        [target_of([[5, 5, 2], [125, 90, 2], [20, 29, 2]])],  # labelled, but outside every RoI of the person
    ],
)
def test_no_keypoint_to_learn_gives_a_loss_of_zero_and_gradients_of_zero(targets: list[Target]) -> None:
    model = model_of(KEYPOINTS).train()
    model.sampling = SamplingSpec(roi_positive_iou=0.999)  # the ground-truth box alone
    losses = model(*batch_of(1), targets)
    assert losses["keypoint"].item() == 0
    torch.stack(list(losses.values())).sum().backward()
    assert model.keypoint_head is not None
    for parameter in model.keypoint_head.parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()


def test_invisible_keypoints_change_nothing() -> None:
    """Where a keypoint that is not labelled is said to lie matters neither to the losses nor to a gradient."""
    model = model_of(BOTH).train()
    found = []
    for x, y in ((0.0, 0.0), (33.0, 44.0)):
        model.zero_grad()
        losses = model(*batch_of(1), [target_of([VISIBLE[0], [x, y, 0], [x, y, 0]])], image_keys(0, 0, [0]))
        torch.stack(list(losses.values())).sum().backward()
        found.append((losses, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}))
    (one, one_gradients), (two, two_gradients) = found
    assert one["keypoint"] > 0
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert all(torch.equal(gradient, two_gradients[name]) for name, gradient in one_gradients.items())


def test_the_loss_is_the_mean_over_the_visible_keypoints_of_the_batch() -> None:
    """Images with 0, 1 and 3 visible keypoints: their losses count 0, 1 and 3 times in the joint mean."""
    model = model_of(KEYPOINTS)
    model.sampling = SamplingSpec(roi_positive_iou=0.999)  # each person's own box alone
    targets = [target_of(HIDDEN), target_of([VISIBLE[0], *HIDDEN[1:]]), target_of(VISIBLE)]
    canvas, info = batch_of(3)
    with torch.no_grad():
        joint = model(canvas, info, targets)["keypoint"].item()
        each = [model(canvas[i : i + 1], info[:1], targets[i : i + 1])["keypoint"].item() for i in range(3)]
    assert each[0] == 0
    assert joint == pytest.approx((each[1] + 3 * each[2]) / 4, rel=1e-4)


@pytest.mark.parametrize(("keypoints", "found"), [(None, "None"), (torch.zeros(1, 2, 3), r"\[1, 2, 3\]")])
def test_targets_of_another_shape_are_named(keypoints: torch.Tensor | None, found: str) -> None:
    target = dataclasses.replace(target_of(VISIBLE), keypoints=keypoints)
    with pytest.raises(ValueError, match=rf"target 0: got keypoints {found}, expected \[1, 3, 3\]"):
        model_of(KEYPOINTS)(*batch_of(1), [target])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_loss_is_float32_under_autocast(dtype: torch.dtype) -> None:
    model = model_of(KEYPOINTS).train()
    with torch.autocast("cpu", dtype):
        losses = model(*batch_of(1), [target_of(VISIBLE)])
    assert losses["keypoint"].dtype == torch.float32
    assert torch.isfinite(losses["keypoint"])
