"""How time decides between images a step and their size; seconds come from a table, as a machine's own never repeat."""

import numpy as np
import pytest
import torch
from maskline_train.new import choose as choosing
from maskline_train.new.choose import Chosen, choose
from maskline_train.new.machine import Machine
from maskline_train.new.probe import Probe
from maskline_train.new.start import start_for
from maskline_train.new.survey import Survey
from maskline_train.recipe import Recipe

MACHINE = Machine(cores=2, memory_gib=24, bf16=False)
FOUND = Survey(
    np.full((8, 2), (727.0, 1026.0)), np.full((40, 2), 39.0), np.repeat(np.arange(8), 5), np.zeros(40, np.int64), ("a",)
)


def chosen_where(us_a_pixel: float, minutes: float, monkeypatch: pytest.MonkeyPatch) -> tuple[Chosen, int]:
    """What is chosen where a step takes so long for each pixel of its images, and how often steps were timed."""
    timed = []

    def seconds(recipe: Recipe, *_: object) -> Probe:
        size = recipe.model.preprocessing
        step_s = us_a_pixel * 1e-6 * recipe.training.total_batch * size.shorter_side_px * size.longer_side_px
        timed.append(step_s)
        return Probe(step_s, 1.0, (step_s, step_s))

    monkeypatch.setattr(choosing, "probe", seconds)
    start = start_for(FOUND, MACHINE, None)
    return choose(start, FOUND, None, MACHINE, minutes, 8), len(timed)


@pytest.mark.parametrize(
    ("us_a_pixel", "batch", "side_px"),
    [
        (0.6, 4, 608),  # 1.3 s
        (1.2, 2, 608),
        (2.4, 1, 608),
        (4.0, 1, 512),  # 1.5 s: sides are multiples of 32, and 191 steps come of 200
        (9.0, 1, 320),
        (90.0, 1, 320),  # whatever that takes
    ],
)
def test_slow_steps_have_fewer_images_and_then_smaller_ones(
    us_a_pixel: float, batch: int, side_px: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, timed = chosen_where(us_a_pixel, 5, monkeypatch)
    training = chosen.recipe.training
    assert (training.total_batch, training.reference_batch) == (batch, batch)
    assert chosen.recipe.model.preprocessing.shorter_side_px == chosen.size.shorter_side_px == side_px
    assert training.steps >= (190 if us_a_pixel < 9 else 60)
    assert timed <= 4  # each takes as long as some steps
    assert ("More would leave less than 200 steps" in chosen.reasons["training.total_batch"]) == (batch < 4)


def test_more_time_is_for_more_images_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, _ = chosen_where(2.4, 60, monkeypatch)
    assert (chosen.recipe.training.total_batch, chosen.size.shorter_side_px) == (4, 608)


def test_what_a_gpu_cannot_hold_is_halved_and_a_single_image_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(recipe: Recipe, *_: object) -> Probe:
        if recipe.training.total_batch > most:
            raise torch.OutOfMemoryError
        return Probe(0.1, 1.0, (0.1, 0.1))

    monkeypatch.setattr(choosing, "probe", too_large)
    most = 1
    chosen = choose(start_for(FOUND, MACHINE, None), FOUND, None, MACHINE, 5, 8)
    assert chosen.recipe.training.total_batch == 1
    assert "twice as many did not fit" in chosen.reasons["training.total_batch"]
    most = 0
    with pytest.raises(ValueError, match="too little memory for a step of one image"):
        choose(start_for(FOUND, MACHINE, None), FOUND, None, MACHINE, 5, 8)
