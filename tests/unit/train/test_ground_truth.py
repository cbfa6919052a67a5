"""Ground truth of a batch: what padding holds, and that masks come back from their crops."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from maskline_train.ground_truth import batched
from maskline_train.target import Target
from support.data.batches import unpacked


def target_of(masks, keypoints=None):
    """Masks [G, H, W] with boxes that nobody reads."""
    boxes = torch.tensor([[1.0, 2.0, 3.0, 5.0]]).repeat(len(masks), 1)
    return Target(boxes, torch.arange(len(masks)), torch.as_tensor(masks, dtype=torch.uint8), keypoints)


@settings(deadline=None, max_examples=50)
@given(
    st.integers(0, 2**31), st.integers(1, 20), st.integers(1, 20), st.lists(st.integers(0, 11), min_size=1, max_size=3)
)
def test_targets_come_back(seed, height, width, counts):
    generator = torch.Generator().manual_seed(seed)
    chance = torch.rand(1, generator=generator) ** 3  # few pixels, so that windows have every form
    masks = [torch.rand(count, height, width, generator=generator) < chance for count in counts]
    targets = [target_of(mask, torch.rand(len(mask), 4, 3, generator=generator)) for mask in masks]
    truth = batched(targets)
    assert truth.valid.sum(dim=1).tolist() == counts
    assert truth.boxes.shape == (len(counts), 16 if max(counts) > 8 else 8, 4)
    for before, after in zip(targets, unpacked(truth, (height, width)), strict=True):
        for name in ("boxes", "labels", "masks", "keypoints"):
            assert torch.equal(getattr(before, name), getattr(after, name)), name


def test_padding_has_an_area_and_is_no_object():
    truth = batched([target_of(torch.ones(3, 4, 4)), target_of(torch.ones(0, 4, 4))])
    assert truth.valid.tolist() == [[True] * 3 + [False] * 5, [False] * 8]
    padding = truth.boxes[~truth.valid]
    assert (padding[:, 2:] > padding[:, :2]).all()
    assert truth.windows[~truth.valid].eq(0).all()


def test_sizes_repeat_so_that_few_steps_are_compiled():
    sizes = {(truth.boxes.shape[1], len(truth.pixels)) for truth in (
        batched([target_of(torch.ones(count, 8, side))]) for count in range(9) for side in (7, 8)
    )}  # fmt: skip
    assert {count for count, _ in sizes} == {8}
    assert {pixels for _, pixels in sizes} == {1, 64, 128, 256, 512}


def test_keypoints_are_wanted_of_all_images_or_of_none():
    with_points = target_of(torch.ones(1, 4, 4), torch.ones(1, 2, 3))
    assert batched([target_of(torch.ones(1, 4, 4))]).keypoints is None
    with pytest.raises(ValueError, match="got keypoints in 1 of 2 images, expected all or none"):
        batched([with_points, target_of(torch.ones(1, 4, 4))])


def test_a_box_without_area_is_refused():
    target = Target(torch.tensor([[5.0, 5.0, 5.0, 9.0]]), torch.tensor([0]), torch.zeros(1, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match="target 0: a box has no area"):
        batched([target])
