"""What follows from the machine, the time, the names and the pictures without objects."""

import dataclasses

import numpy as np
import pytest
from maskline_train.new.choices.choice import Choice
from maskline_train.new.choices.schedule import (
    LEAST_STEPS,
    MOST_PASSES,
    batch_choices,
    batch_in_time,
    step_choices,
    times,
)
from maskline_train.new.choices.sided import sides
from maskline_train.new.choices.varying import varying_choices
from maskline_train.new.machine import Machine
from maskline_train.new.probe import Probe, _enough
from maskline_train.new.survey import Survey

CPU = Machine(cores=2, memory_gib=24, bf16=False)
GPU = Machine(cores=16, memory_gib=128, bf16=True, gpu="NVIDIA H100", gpu_memory_gib=80)


def survey_of(images: int, empty: int = 0, classes: tuple[str, ...] = ("nucleus",)) -> Survey:
    """Pictures with one object each, and some without."""
    return Survey(
        np.full((images, 2), 256.0), np.full((images - empty, 2), 50.0), np.arange(images - empty),
        np.zeros(images - empty, np.int64), classes,
    )  # fmt: skip


def values(choices: list[Choice]) -> dict[str, object]:
    return {choice.field.split(".")[1]: choice.value for choice in choices}


def test_steps_fill_the_time_that_evaluations_leave() -> None:
    choices = step_choices(survey_of(1000), 4, Probe(0.5, 1, (0.4, 0.62)), minutes=5, num_evaluated=240)
    found = values(choices)
    assert found["steps"] == (300 - 3 * 200 * 0.5 / 4 / 3) / 0.5  # 200 images three times, a third of a step each
    assert found["evaluate_images"] == 200
    assert found["evaluate_every"] == 184
    assert choices[0].reason.startswith(
        "550 steps of 0.5 s (0.4 to 0.62), measured on this machine, and evaluations: about 5 minutes"
    )
    assert "seen 2.2 times" in choices[0].reason


def test_evaluations_take_a_third_of_the_time_at_most() -> None:
    choices = step_choices(survey_of(1), 1, Probe(1.0, 1, (1.0, 1.0)), minutes=3, num_evaluated=500)
    found = values(choices)
    assert found["evaluate_images"] == 60  # three times, a third of a second each
    assert found["steps"] == 120


@pytest.mark.parametrize(
    ("step_s", "num_evaluated", "batch"),
    [
        (1.48, 8, 4),  # 5 minutes are 202.7 steps, of which the evaluations of 8 images take 3 * 8 / 4 / 3 = 2
        (1.49, 8, 2),
        (2.94, 8, 2),  # 204.1 steps of half as many images, of which 4 are evaluations
        (2.95, 8, 1),
        (60.0, 8, 1),
        (1.2, 200, 4),  # 250 steps, evaluations take 50
        (1.21, 200, 2),
    ],
)
def test_where_steps_would_be_few_they_have_fewer_images(step_s: float, num_evaluated: int, batch: int) -> None:
    assert batch_in_time(4, step_s, 5, num_evaluated) == batch
    assert batch_in_time(4, step_s * 2, 10, num_evaluated) == batch
    probe = Probe(step_s / 4 * batch, 1, (1, 1))
    steps = values(step_choices(survey_of(100), batch, probe, minutes=5, num_evaluated=num_evaluated))["steps"]
    assert isinstance(steps, int)
    assert steps >= 200 or batch == 1


@pytest.mark.parametrize(("step_s", "steps"), [(0.1, 12), (0.8, 9), (1.6, 6), (4.0, 3), (30.0, 2)])
def test_slow_steps_are_timed_less_often(step_s: float, steps: int) -> None:
    seconds: list[float] = []
    while not _enough(seconds):
        seconds.append(step_s)
    assert len(seconds) == steps


def test_a_small_set_is_not_learned_by_heart_for_hours() -> None:
    choices = step_choices(survey_of(8), 4, Probe(0.5, 1, (0.5, 0.5)), minutes=600, num_evaluated=2)
    assert values(choices)["steps"] == MOST_PASSES * 8 / 4
    assert values(choices)["evaluate_images"] is None  # all
    assert "by heart" in choices[0].reason


def test_new_layers_get_their_steps_however_little_time_there_is() -> None:
    choices = step_choices(survey_of(8), 4, Probe(10, 1, (10, 10)), minutes=1, num_evaluated=2)
    assert values(choices)["steps"] == LEAST_STEPS
    assert "about 10 minutes, more than --minutes 1 holds" in choices[0].reason


@pytest.mark.parametrize(
    ("found", "machine", "batch", "workers", "amp"),
    [
        (survey_of(100), CPU, 4, 0, "off"),
        (survey_of(3), CPU, 3, 0, "off"),
        (survey_of(9, empty=7), CPU, 2, 0, "off"),
        (survey_of(100), dataclasses.replace(CPU, bf16=True), 4, 0, "bf16"),
        (survey_of(100), GPU, 8, 8, "bf16"),
        (survey_of(100), dataclasses.replace(GPU, gpu_memory_gib=10, cores=4), 2, 3, "bf16"),
    ],
)
def test_the_batch_is_what_set_and_machine_hold(
    found: Survey, machine: Machine, batch: int, workers: int, amp: str
) -> None:
    chosen = values(batch_choices(found, machine))
    assert chosen == {"total_batch": batch, "reference_batch": batch, "workers": workers, "amp": amp}


@pytest.mark.parametrize(
    ("classes", "probability"),
    [
        (("cat", "dog"), 0.5),
        (("copyright", "bright"), 0.5),  # no sides
        (("left shoe", "right shoe"), 0.0),
        (("shoe_LEFT",), 0.0),
        (("0", "1", "7"), 0.0),
        (("a", "stamp"), 0.0),
        (("Seven", "stamp"), 0.0),
        (("phone", "weight"), 0.5),
        (("turnLeft",), 0.0),
        (("10", "20"), 0.0),
    ],
)
def test_what_a_mirror_would_make_another_class_is_not_mirrored(classes: tuple[str, ...], probability: float) -> None:
    chosen = varying_choices(survey_of(5, classes=classes), 256)
    assert values(chosen)["flip_probability"] == probability
    assert chosen[0].reason


@pytest.mark.parametrize(
    "names",
    [
        ("left_eye", "nose", "right_eye"),
        ("Left Eye", "nose", "Right Eye"),
        ("eyeLeft", "nose", "eyeRight"),
        ("LEFT", "NOSE", "RIGHT"),
        ("l_eye", "nose", "r_eye"),
        ("eye-L", "nose", "eye-R"),
    ],
)
def test_keypoints_of_two_sides_are_pairs(names: tuple[str, ...]) -> None:
    assert sides(names) == ((names[0], names[2]),)
    found = dataclasses.replace(survey_of(5), keypoint_names=names)
    assert values(varying_choices(found, 256))["flip_probability"] == 0.5


@pytest.mark.parametrize("names", [("head", "tail"), ("lip", "rip"), ("left_eye", "nose")])
def test_keypoints_without_sides_are_not_mirrored(names: tuple[str, ...]) -> None:
    assert sides(names) == ()
    found = dataclasses.replace(survey_of(5), keypoint_names=names)
    flip = varying_choices(found, 256)[0]
    assert flip.value == 0.0
    assert "flip_pairs" in flip.reason


@pytest.mark.parametrize(("empty", "shown"), [(0, None), (1, True), (5, True), (6, False)])
def test_pictures_without_objects_are_shown_unless_they_are_most(empty: int, shown: bool | None) -> None:
    chosen = varying_choices(survey_of(10, empty=empty), 256)
    assert values(chosen).get("keep_empty") is shown
    if shown is not None:
        assert f"{empty} of 10" in chosen[-1].reason


@pytest.mark.parametrize(("passes", "text"), [(0.2512, "0.25"), (3.44, "3.4"), (104.2, "104")])
def test_passes_are_written_for_readers(passes: float, text: str) -> None:
    assert times(passes) == text
