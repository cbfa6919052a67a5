"""Recipes: the paper's numbers, the learning rate they give, and how they are found."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.recipe import AdamW, Sgd, TrainingSpec
from maskline_train.recipes import load_recipe, recipe_names
from maskline_train.training.schedule import Cosine, StepDecay
from support.models.tiny import tiny_model

PAPER = TrainingSpec(steps=160_000, decay=StepDecay(milestones=(120_000,)))


@pytest.mark.parametrize("name", sorted(recipe_names()))
def test_every_recipe_builds_a_model_spec_of_the_data_sets_classes(name: str) -> None:
    recipe = load_recipe(name)(("a", "b"))
    assert recipe.model.classes == ("a", "b")
    assert json.loads(json.dumps(recipe.to_dict()))["model"]["classes"] == ["a", "b"]
    header = recipe_names()[name]
    assert header
    assert len(header) < 110


@pytest.mark.parametrize(("name", "depth"), [("mask_rcnn_r50_fpn", 50), ("mask_rcnn_r101_fpn", 101)])
def test_the_paper_recipes_say_what_the_paper_says(name: str, depth: int) -> None:
    """Section 3.1, ledger rows P29 to P33; every number here stands in the paper's text."""
    recipe = load_recipe(name)(("thing",))
    training, sampling = recipe.training, recipe.sampling
    assert recipe.model.backbone.depth == depth
    assert recipe.model.preprocessing.shorter_side_px == 800
    assert (training.steps, training.decay) == (160_000, StepDecay((120_000,), 0.1))
    assert (training.total_batch, training.base_lr, training.peak_lr) == (16, 0.02, 0.02)
    assert (training.optimizer, training.weight_decay) == (Sgd(momentum=0.9), 1e-4)
    assert (sampling.roi_samples, sampling.roi_positive_fraction) == (512, 0.25)  # 1:3
    assert sampling.roi_positive_iou == 0.5
    assert len(recipe.model.anchors.sizes_px) == 5  # 5 scales and 3 aspect ratios
    assert len(recipe.model.anchors.aspect_ratios) == 3
    assert recipe.model.proposals.max_proposals == 1000
    assert recipe.model.box_head.max_detections == 100


def test_the_later_heads_are_the_baseline_but_for_their_layers() -> None:
    """Four convolutions and one layer, two in the RPN, norms of 32 groups; the count is checked with the sizes."""
    base, later = (load_recipe(name)(("thing",)) for name in ("mask_rcnn_r50_fpn", "mask_rcnn_r50_fpn_v2"))
    of_base, of_later = base.to_dict(), later.to_dict()
    assert all(of_base[part] == of_later[part] for part in of_base if part != "model")
    changed = {
        f"{part}.{field}": value
        for part, fields in of_later["model"].items()
        if isinstance(fields, dict)
        for field, value in fields.items()
        if value != of_base["model"][part][field]
    }
    assert changed == {
        "backbone.fpn_norm": "group",
        "rpn_head.num_convs": 2,
        "box_head.num_convs": 4,
        "box_head.num_fcs": 1,
        "box_head.norm": "group",
        "mask_head.norm": "group",
    }
    model = later.model
    assert model.mask_head is not None
    assert {model.backbone.norm_groups, model.box_head.norm_groups, model.mask_head.norm_groups} == {32}


@pytest.mark.parametrize("name", ["digits_base", "digits_base_last", "digits_demo"])
def test_the_demo_network_fits_into_8_mb_of_float16(name: str) -> None:
    recipe = load_recipe(name)(tuple("0123456789"))
    model = MaskRCNN(recipe.model)
    num_bytes = sum(v.numel() * (2 if v.dim() > 1 else 4) for v in model.state_dict().values())
    assert num_bytes < 8_000_000
    names = set(model.state_dict())
    assert names == set(MaskRCNN(load_recipe("digits_base")(tuple("0123456789")).model).state_dict())  # they chain


def test_the_demo_fine_tunes_the_network_of_the_last_base_round() -> None:
    classes = tuple("0123456789")
    assert load_recipe("digits_demo")(classes).model == load_recipe("digits_base_last")(classes).model


def test_learning_rate_of_a_schedule_that_a_person_can_follow() -> None:
    """Batch 8 instead of 16: half of 0.02. Warm-up from a tenth over 10 steps, a tenth of it from step 20 on."""
    training = TrainingSpec(steps=30, decay=StepDecay((20,), 0.1), total_batch=8, warmup_steps=10, warmup_factor=0.1)
    rates = [training.learning_rate(step) for step in range(30)]
    assert rates[0] == pytest.approx(0.001)
    assert rates[5] == pytest.approx(0.01 * 0.55)  # half way between 0.1 and 1
    assert rates[10] == rates[19] == pytest.approx(0.01)
    assert rates[20] == rates[29] == pytest.approx(0.001)


def test_cosine_goes_from_one_to_its_final_factor() -> None:
    decay = Cosine(final_factor=0.1)
    assert decay.at(0, 101) == 1.0
    assert decay.at(50, 101) == pytest.approx(0.55)  # half way
    assert decay.at(100, 101) == pytest.approx(0.1)
    assert decay.at(0, 1) == 1.0  # a run of one step


def test_another_total_batch_sees_as_many_images_at_a_rate_in_proportion() -> None:
    """Two GPUs instead of eight: 4 images a step, a quarter of the rate, four times the steps."""
    small = PAPER.with_total_batch(4)
    assert (small.steps, small.decay) == (640_000, StepDecay((480_000,), 0.1))
    assert small.peak_lr == pytest.approx(0.005)
    assert small.warmup_steps == 2_000
    assert small.steps * small.total_batch == PAPER.steps * PAPER.total_batch
    assert PAPER.with_total_batch(16) == PAPER
    with pytest.raises(ValueError, match="got 0, expected at least 1"):
        PAPER.with_total_batch(0)


def test_a_command_lines_batch_stretches_the_schedule_and_its_steps_count_as_they_are() -> None:
    recipe = load_recipe("mask_rcnn_r50_fpn")(("thing",))
    assert recipe.adjusted(None, None) == recipe
    assert recipe.adjusted(None, 8).training == recipe.training.with_total_batch(8)
    both = recipe.adjusted(7, 8).training
    assert (both.steps, both.total_batch, both.peak_lr) == (7, 8, recipe.training.peak_lr / 2)


@pytest.mark.parametrize("kind", [Sgd(momentum=0.8), AdamW()])
def test_weights_decay_and_vectors_do_not(kind: Sgd | AdamW) -> None:
    model = tiny_model()
    training = TrainingSpec(steps=1, decay=Cosine(), optimizer=kind, weight_decay=0.5)
    optimizer = training.build_optimizer(model, torch.device("cpu"))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    for parameter in model.parameters():
        assert decay[id(parameter)] == (0.5 if parameter.dim() > 1 else 0.0)
    assert isinstance(optimizer, torch.optim.SGD if isinstance(kind, Sgd) else torch.optim.AdamW)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "TrainingSpec.steps: got 0, expected at least 1"),
        ({"amp": "fp8"}, "TrainingSpec.amp: got 'fp8', expected 'off', 'bf16' or 'fp16'"),
    ],
)
def test_a_training_spec_that_cannot_train_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingSpec(**{"steps": 1, "decay": Cosine(), **changes})


def test_recipes_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"got 'resnet', expected a .py file or one of .*r50_fpn, .*digits_base"):
        load_recipe("resnet")
    with pytest.raises(ValueError, match="no such file"):
        load_recipe(str(tmp_path / "missing.py"))
    empty = tmp_path / "empty.py"
    empty.write_text("x = 1\n")
    with pytest.raises(ValueError, match="no function `build`"):
        load_recipe(str(empty))


def test_the_peak_rate_is_linear_in_the_batch() -> None:
    rates = [PAPER.with_total_batch(batch).peak_lr / batch for batch in (1, 2, 16, 64)]
    assert all(math.isclose(rate, 0.02 / 16) for rate in rates)


@pytest.mark.parametrize(
    ("device", "amp", "fused", "expected"),
    [
        ("cuda", "bf16", True, True),
        ("cuda", "off", False, None),
        ("cuda", "fp16", True, None),  # a scaler that skips the first step leaves torch's fused momentum unwritten
        ("cpu", "bf16", True, None),
    ],
)
def test_one_kernel_updates_all_weights_where_that_is_right(
    device: str, amp: str, fused: bool, expected: bool | None
) -> None:
    training = TrainingSpec(steps=1, decay=Cosine(), amp=amp, fused=fused)
    asked = []

    class Noting(Sgd):
        def build(self, groups: list, lr: float, fused: bool | None) -> torch.optim.Optimizer:
            asked.append(fused)
            return super().build(groups, lr, None)  # no GPU is needed to know what is asked of it

    dataclasses.replace(training, optimizer=Noting()).build_optimizer(tiny_model(), torch.device(device))
    assert asked == [expected]
