"""The keypoint branch: layers, targets, loss in closed form, and where the top of a heatmap lands."""

import dataclasses
import math

import pytest
import torch
from maskline_train.ground_truth import batched
from maskline_train.model.heads.keypoint_head import KeypointHead, decode_heatmaps
from maskline_train.model.losses import keypoint_terms
from maskline_train.model.sampling import RoISamples
from maskline_train.model.targets import keypoint_targets
from maskline_train.spec import KeypointHeadSpec
from maskline_train.target import Target
from torchvision.models.detection.roi_heads import heatmaps_to_keypoints, keypoints_to_heatmap

SPEC = KeypointHeadSpec(names=("a", "b", "c"), pooled_side=4, num_convs=2, channels=5)
SIDE = 56


def rois_of(boxes: list, objects: list[int], images: list[int]) -> RoISamples:
    rows = torch.tensor(objects)
    return RoISamples(torch.tensor(boxes).float(), torch.tensor(images), torch.zeros_like(rows), rows, rows >= 0)


def target_of(keypoints: list | None) -> Target:
    count = 0 if keypoints is None else len(keypoints)
    points = None if keypoints is None else torch.tensor(keypoints).float().reshape(count, -1, 3)
    boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0]]).expand(count, 4)
    return Target(boxes, torch.zeros(count, dtype=torch.int64), torch.zeros(count, 1, 1, dtype=torch.uint8), points)


def gaussian(x: float, y: float, side: int = SIDE, width: float = 3.0) -> torch.Tensor:
    """Logits whose softmax is a bump with its top at (x, y) in cells."""
    centres = torch.arange(side) + 0.5
    return -((centres[None, :] - x) ** 2 + (centres[:, None] - y) ** 2) / (2 * width**2)


def test_the_papers_head_has_eight_convolutions_of_512_and_gives_56_by_56() -> None:
    head = KeypointHead(256, KeypointHeadSpec(names=tuple(f"k{i}" for i in range(17))))
    assert [(conv.in_channels, conv.out_channels, conv.kernel_size) for conv in head.convs] == [
        (256 if i == 0 else 512, 512, (3, 3)) for i in range(8)
    ]
    with torch.no_grad():
        assert head(torch.randn(2, 256, 14, 14)).shape == (2, 17, SIDE, SIDE)
        assert head(torch.zeros(0, 256, 14, 14)).shape == (0, 17, SIDE, SIDE)
    assert sum(p.numel() for p in head.parameters()) == 256 * 512 * 9 + 7 * 512 * 512 * 9 + 8 * 512 + 512 * 17 * 16 + 17


def test_gradients_of_the_head_are_those_of_its_definition() -> None:
    torch.manual_seed(0)
    head = KeypointHead(2, KeypointHeadSpec(names=("a",), pooled_side=2, num_convs=1, channels=2)).double()
    for parameter in head.parameters():
        parameter.data += 0.3 * torch.rand_like(parameter)  # biases too; away from the kink of relu
    assert torch.autograd.gradcheck(head, torch.rand(1, 2, 2, 2, dtype=torch.float64, requires_grad=True))


def test_cells_of_known_points() -> None:
    """A RoI of 112 x 56 px from (10, 20): cells of 2 x 1 px."""
    box = [10, 20, 122, 76]
    points = [
        [[10, 20, 2], [13.9, 21.5, 2], [122, 76, 1]],  # the first corner; column 1, row 1; the far corner, hidden
        [[9.9, 30, 2], [60, 76.1, 2], [50, 50, 0]],  # left of it; below it; not labelled
    ]
    cells, counted = keypoint_targets(rois_of([box, box], [0, 1], [0, 0]), batched([target_of(points)]), SIDE)
    assert counted.tolist() == [[True, True, True], [False, False, False]]
    assert cells.tolist() == [[0, 1 * SIDE + 1, SIDE * SIDE - 1], [0, 0, 0]]


def test_points_come_from_the_object_and_the_image_of_the_roi() -> None:
    empty = dataclasses.replace(target_of(None), keypoints=torch.zeros(0, 1, 3))
    targets = [target_of([[[1.0, 1, 2]], [[5.0, 1, 2]]]), empty, target_of([[[1.0, 5, 2]]])]
    cells, counted = keypoint_targets(rois_of([[0, 0, 8, 8]] * 3, [0, 1, 0], [2, 0, 0]), batched(targets), 8)
    assert counted.all()
    assert cells[:, 0].tolist() == [5 * 8 + 1, 8 + 5, 8 + 1]


def test_targets_are_torchvisions() -> None:
    generator = torch.Generator().manual_seed(3)
    corners = torch.rand(40, 2, generator=generator) * 50
    boxes = torch.cat([corners, corners + 5 + torch.rand(40, 2, generator=generator) * 90], dim=1)
    points = torch.rand(40, 6, 3, generator=generator) * 120
    points[..., 2] = torch.randint(0, 3, (40, 6), generator=generator)
    rois = rois_of(boxes.tolist(), list(range(40)), [0] * 40)
    target = Target(boxes, torch.zeros(40, dtype=torch.int64), torch.zeros(40, 1, 1), points)
    cells, counted = keypoint_targets(rois, batched([target]), SIDE)
    expected, valid = keypoints_to_heatmap(points, boxes, SIDE)
    assert 20 < counted.sum() < 200
    assert torch.equal(counted, valid.bool())
    assert torch.equal(cells[counted], expected[counted])


def test_targets_without_keypoints_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got one without keypoints, expected keypoints \[G, J, 3\]"):
        keypoint_targets(rois_of([[0, 0, 8, 8]], [0], [0]), batched([target_of(None)]), 8)


def test_loss_of_flat_logits_is_the_logarithm_of_the_number_of_cells() -> None:
    term = keypoint_terms(torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, dtype=torch.int64), torch.ones(2, 3).bool())
    assert term["keypoint"].number == 6
    assert term["keypoint"].total.item() == pytest.approx(6 * math.log(64))


def test_loss_and_its_gradient_in_closed_form() -> None:
    """One keypoint of six counts: -log softmax at its cell; gradient softmax minus one-hot there, zero elsewhere."""
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1), requires_grad=True)
    cells, counted = torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 3, dtype=torch.bool)
    cells[1, 2], counted[1, 2] = 6, True
    term = keypoint_terms(logits, cells, counted)["keypoint"]
    term.total.backward()
    heat = logits.detach()[1, 2].double().exp()
    assert term.number == 1
    assert term.total.item() == pytest.approx(-math.log(float(heat[1, 2] / heat.sum())), rel=1e-6)
    expected = torch.zeros(2, 3, 4, 4, dtype=torch.float64)
    expected[1, 2] = heat / heat.sum()
    expected[1, 2, 1, 2] -= 1
    assert logits.grad is not None
    assert torch.allclose(logits.grad.double(), expected, atol=1e-6)


def test_a_keypoint_that_does_not_count_changes_nothing() -> None:
    logits = torch.randn(2, 3, 8, 8)
    counted = torch.tensor([[True, False, True], [False, True, False]])
    cells = torch.randint(0, 64, (2, 3))
    before = keypoint_terms(logits, cells, counted)["keypoint"]
    changed = torch.where(counted[:, :, None, None], logits, logits + 100 * torch.randn(2, 3, 8, 8))
    after = keypoint_terms(changed, torch.where(counted, cells, 63 - cells), counted)["keypoint"]
    assert before.number == after.number == 3
    assert torch.equal(before.total, after.total)


def test_no_counted_keypoint_gives_a_loss_of_zero_with_gradients_of_zero() -> None:
    for shape in ((2, 3, 8, 8), (0, 3, 8, 8)):
        logits = torch.randn(shape, requires_grad=True)
        nothing = torch.zeros(shape[:2])
        term = keypoint_terms(logits, nothing.long(), nothing.bool())["keypoint"]
        term.total.backward()
        assert (term.number, term.total.item()) == (0, 0.0)
        assert logits.grad is not None
        assert not logits.grad.any()


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (20.5, 30.5),  # the centre of a cell
        (20.83, 30.21),  # between centres
        (1.6, 54.4),  # one cell from the border
    ],
)
def test_the_top_of_a_gaussian_is_found_exactly(x: float, y: float) -> None:
    """In a box of 112 x 28 px from (100, 50), whose cells are 2 x 0.5 px."""
    ((point,),) = decode_heatmaps(gaussian(x, y)[None, None], torch.tensor([[100.0, 50.0, 212.0, 78.0]]))
    assert point[:2].tolist() == pytest.approx([100 + 2 * x, 50 + 0.5 * y], abs=2e-3)
    probability = gaussian(x, y).flatten().softmax(dim=0).max()
    assert point[2].item() == pytest.approx(probability.item(), rel=1e-5)


def test_a_top_at_the_border_stays_in_the_centre_of_its_cell() -> None:
    box = torch.tensor([[0.0, 0.0, SIDE, SIDE]])
    (points,) = decode_heatmaps(torch.stack([gaussian(-3, -3), gaussian(60, 60), gaussian(-3, 20.8)])[None], box)
    assert points[:, :2].flatten().tolist() == pytest.approx([0.5, 0.5, 55.5, 55.5, 0.5, 20.8], abs=1e-3)


def test_ties_go_to_the_lowest_cell_and_flat_ground_to_its_centre() -> None:
    (points,) = decode_heatmaps(torch.zeros(1, 1, 8, 8), torch.tensor([[0.0, 0.0, 8.0, 8.0]]))
    assert points.tolist() == [[0.5, 0.5, pytest.approx(1 / 64)]]
    two = torch.zeros(1, 1, 8, 8)
    two[0, 0, 3, 4] = two[0, 0, 3, 5] = 1.0  # equal neighbours: the edge between them
    (points,) = decode_heatmaps(two, torch.tensor([[0.0, 0.0, 8.0, 8.0]]))
    assert points[0, :2].tolist() == [5.0, 3.5]


def test_every_point_lies_in_its_box_and_no_box_has_no_points() -> None:
    generator = torch.Generator().manual_seed(0)
    boxes = torch.tensor([[3.0, 4.0, 33.0, 5.0], [7.0, 7.0, 7.0, 7.0]])
    points = decode_heatmaps(torch.randn(2, 50, 16, 16, generator=generator), boxes)
    assert (points[..., :2] >= boxes[:, None, :2]).all()
    assert (points[..., :2] <= boxes[:, None, 2:]).all()
    assert decode_heatmaps(torch.zeros(0, 3, 16, 16), torch.zeros(0, 4)).shape == (0, 3, 3)


def test_half_precision_logits_are_decoded_in_float32() -> None:
    box = torch.tensor([[1000.0, 1000.0, 1100.0, 1100.0]])
    ((point,),) = decode_heatmaps(gaussian(20.8, 30.2).half()[None, None], box)
    assert point.dtype == torch.float32
    assert point[:2].tolist() == pytest.approx([1000 + 20.8 / 0.56, 1000 + 30.2 / 0.56], abs=0.1)


def test_points_are_torchvisions_to_a_fraction_of_a_cell() -> None:
    """torchvision takes the best pixel of a bicubic enlargement: whole pixels of the box, ours between them."""
    generator = torch.Generator().manual_seed(5)
    where = 5 + 46 * torch.rand(30, 2, generator=generator)
    logits = torch.stack([gaussian(float(x), float(y), width=1.5) for x, y in where])[:, None]
    corners = torch.rand(30, 2, generator=generator) * 50
    boxes = torch.cat([corners, corners + 60 + 100 * torch.rand(30, 2, generator=generator)], dim=1)
    theirs, _ = heatmaps_to_keypoints(logits, boxes)
    ours = decode_heatmaps(logits, boxes)
    cells = (boxes[:, None, 2:] - boxes[:, None, :2]) / SIDE
    assert ((ours[..., :2] - theirs[..., :2]).abs() <= 0.5 * torch.maximum(cells, torch.ones_like(cells)) + 0.3).all()
