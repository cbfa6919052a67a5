"""The counter hash: what it hangs on, and that it draws as random numbers do."""

import math

import numpy as np
import torch
from maskline_train.model.draws import image_keys, priorities, random_keys


def drawn(key, candidates, count):
    """The candidates with the lowest numbers, in that order."""
    return torch.argsort(priorities(key[None], candidates)[0])[:count].tolist()


def test_no_two_candidates_have_one_number():
    for numbers in priorities(image_keys(3, 5, range(4)).flatten(), 300_000):
        assert len(numbers.unique()) == len(numbers)
        assert numbers.min() >= 0
        assert numbers.max() < 2**32


def test_seed_step_image_and_purpose_each_decide_and_nothing_else_does():
    keys = {
        (seed, step, image, purpose): int(image_keys(seed, step, [image])[0, purpose])
        for seed in (0, 1, 2**40)
        for step in (0, 1, 90_000)
        for image in (0, 1, 15)
        for purpose in (0, 1)
    }
    assert len(set(keys.values())) == len(keys)
    assert len({tuple(drawn(torch.tensor(key), 1000, 5)) for key in keys.values()}) == len(keys)
    # However a batch is cut: the images of two processes are those of one.
    whole = image_keys(7, 11, range(6))
    assert torch.equal(whole, torch.cat([image_keys(7, 11, range(2)), image_keys(7, 11, range(2, 6))]))
    # More candidates move no other one.
    assert torch.equal(priorities(whole[:, 0], 500), priorities(whole[:, 0], 900)[:, :500])


def test_torch_s_own_random_numbers_decide_where_none_are_given():
    torch.manual_seed(4)
    first, second = random_keys(3), random_keys(3)
    torch.manual_seed(4)
    assert torch.equal(random_keys(3), first)
    assert not torch.equal(first, second)
    assert len(first.unique()) == 6


def chi_squared(counts, expected):
    """Standard deviations that the statistic of a table lies above its mean: about normal for so many cells."""
    statistic = float((((counts - expected) ** 2) / expected).sum())
    freedom = counts.size - 1
    return (statistic - freedom) / math.sqrt(2 * freedom)


def test_every_candidate_is_drawn_as_often_and_every_pair():
    """As by torch.randperm: a statistic of 4.5 deviations comes once in 300 000 tables, and the keys are fixed."""
    candidates, count, steps = 60, 15, 6000
    singles, pairs = np.zeros(candidates), np.zeros((candidates, candidates))
    for step in range(steps):
        rows = drawn(image_keys(0, step, [0])[0, 0], candidates, count)
        singles[rows] += 1
        pairs[np.ix_(rows, rows)] += 1
    # Draws of one step exclude each other, so singles vary by (1 - count / candidates) of what independent ones do.
    free = 1 - count / candidates
    expected = steps * count / candidates
    assert abs(chi_squared(expected + (singles - expected) / math.sqrt(free), expected)) < 4.5
    upper = pairs[np.triu_indices(candidates, 1)]
    chance = count * (count - 1) / (candidates * (candidates - 1))
    assert abs(upper.mean() - steps * chance) < 1e-9 * steps  # by counting
    # A pair is there or not: binomial over the steps, neighbours sharing a candidate move together a little.
    deviation = math.sqrt(steps * chance * (1 - chance))
    assert abs(upper.std() / deviation - 1) < 4.5 / math.sqrt(2 * len(upper)) * 1.5
    assert np.abs(upper - upper.mean()).max() < 5.5 * deviation  # of 1770 pairs


def test_the_order_within_a_draw_is_random_too():
    """The first of three, then the second: each of the six orders a sixth of 6000 times."""
    orders = {}
    for step in range(6000):
        order = tuple(drawn(image_keys(1, step, [3])[0, 1], 3, 3))
        orders[order] = orders.get(order, 0) + 1
    counts = np.array(list(orders.values()), float)
    assert len(counts) == 6
    assert np.abs(counts - 1000).max() < 4.5 * math.sqrt(6000 / 6 * 5 / 6)
