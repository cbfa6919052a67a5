"""Ranges by numbers a person can check."""

import numpy as np
import pytest
from maskline_export.precision.int8_cpu.ranges import LEVELS, SAMPLES, Observed, Range


def observed(*arrays: np.ndarray) -> Range:
    seen = Observed(len(arrays))
    for seed, array in enumerate(arrays):
        seen.add(np.asarray(array, np.float32), seed)
    return seen.range()


def rounded(values: np.ndarray, found: Range) -> np.ndarray:
    levels = np.clip(np.rint(values / found.scale) + found.zero_point, 0, LEVELS)
    return (levels - found.zero_point) * found.scale


def test_even_values_use_the_whole_range() -> None:
    found = observed(np.linspace(0, 255, 2000))
    assert found == Range(np.float32(1), 0)
    found = observed(np.linspace(-100, 155, 2000))
    assert (found.scale, found.zero_point) == (pytest.approx(1), 100)


def test_a_range_begins_at_zero_or_holds_it() -> None:
    """Padding and ReLU are exact then."""
    assert observed(np.linspace(5, 255, 2000)).zero_point == 0
    assert observed(np.linspace(-255, -5, 2000)).zero_point == LEVELS


def test_rare_large_values_are_cut_off_where_that_costs_less() -> None:
    values = np.random.default_rng(0).lognormal(0, 1, 1_000_000).astype(np.float32)
    found, largest = observed(values), values.max()
    assert largest > 100
    assert found.scale * LEVELS < 0.8 * largest
    whole = Range(largest / LEVELS, 0)
    error = np.square(rounded(values, found) - values).mean()
    assert error < 0.9 * np.square(rounded(values, whole) - values).mean()


def test_extremes_are_those_of_every_value_and_not_of_the_sample() -> None:
    values = np.zeros(1_000_000, np.float32)
    values[123_456] = 51.0
    seen = Observed(1)
    seen.add(values, 0)
    assert seen.range() == Range(np.float32(51 / LEVELS), 0), "a sample of zeros says nothing against the widest"


def test_nothing_but_zeros_is_a_range_all_the_same() -> None:
    found = observed(np.zeros((2, 3)))
    assert found == Range(np.float32(1 / LEVELS), 0)


def test_many_images_keep_no_more_than_one() -> None:
    rng = np.random.default_rng(0)
    seen = Observed(1000)
    for seed in range(1000):
        seen.add(rng.uniform(0, 1, 5000).astype(np.float32), seed)
    assert sum(len(sample) for sample in seen._samples) == SAMPLES


def test_an_array_without_values_says_nothing() -> None:
    seen = Observed(1)
    seen.add(np.zeros((0, 256, 14, 14), np.float32), 0)
    assert seen.empty
    seen.add(np.ones(3, np.float32), 1)
    assert not seen.empty
