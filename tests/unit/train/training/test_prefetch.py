"""The next batch is under way before this one is computed; order, errors and ends are those of the loader.

The copies on a stream of their own run on a GPU alone: `make owed`, item `loader`, and every training there.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from maskline_train.data.errors import DataError
from maskline_train.data.loader import Batch
from maskline_train.ground_truth import batched
from maskline_train.target import Target
from maskline_train.training.prefetch import _tensors, on_device, one_ahead


def told(count: int, story: list[str], *, bad: int | None = None) -> Iterator[int]:
    for number in range(count):
        story.append(f"take {number}")
        if number == bad:
            raise DataError(f"image {number}")
        yield number


def test_an_item_is_taken_before_the_one_in_front_of_it_is_given_out() -> None:
    story: list[str] = []
    for number in one_ahead(told(3, story)):
        story.append(f"compute {number}")
    assert story == ["take 0", "take 1", "compute 0", "take 2", "compute 1", "compute 2"]


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_all_items_come_in_order(count: int) -> None:
    assert list(one_ahead(iter(range(count)))) == list(range(count))


@pytest.mark.parametrize("bad", [0, 1, 4])
def test_an_unreadable_batch_is_an_error_at_its_own_turn_and_nothing_is_read_behind_it(bad: int) -> None:
    story: list[str] = []
    items = one_ahead(told(9, story, bad=bad))
    assert [next(items) for _ in range(bad)] == list(range(bad))
    with pytest.raises(DataError, match=f"image {bad}"):
        next(items)
    assert story[-1] == f"take {bad}"


def test_a_run_that_stops_has_taken_one_more_and_closes_what_it_reads() -> None:
    story: list[str] = []
    source = told(9, story)
    items = one_ahead(source)
    assert next(items) == 0
    items.close()
    source.close()
    assert story == ["take 0", "take 1"]


def test_a_second_ctrl_c_is_not_kept_for_later() -> None:
    def interrupted() -> Iterator[int]:
        yield 0
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(one_ahead(interrupted()))


def batch(number: int) -> Batch:
    box, mask = torch.tensor([[0.0, 0.0, 8.0, 8.0]]), torch.ones(1, 8, 8, dtype=torch.uint8)
    truth = batched([Target(box, torch.zeros(1, dtype=torch.int64), mask, torch.zeros(1, 2, 3))])
    return Batch(torch.full((1, 8, 8, 3), number, dtype=torch.uint8), torch.zeros(1, 6), truth, (number,))


def test_without_a_gpu_batches_pass_as_they_are_and_none_is_read_early() -> None:
    story: list[str] = []
    batches = on_device((batch(number) for number in told(4, story)), torch.device("cpu"))
    assert next(batches).image_ids == (0,)
    assert story == ["take 0"]
    assert [each.image_ids for each in batches] == [(1,), (2,), (3,)]


def test_no_tensor_of_a_batch_is_forgotten() -> None:
    """One that is could be overwritten by a later copy while it is computed with."""
    whole = batch(1)
    assert whole.truth is not None
    found = {id(tensor) for tensor in _tensors(whole)}
    held = [*vars(whole).values(), *whole.truth]
    wanted = {id(value) for value in held if isinstance(value, torch.Tensor)}
    assert len(wanted) == 9
    assert found == wanted
