"""The packaged tables: their rows make valid recipes, their headers are whole, their schedules are the paper's."""

import dataclasses
import importlib
import json
import re

import pytest
from maskline_train.paper.row import views_of
from maskline_train.paper.run_table import folder_of
from maskline_train.paper.table import published, schedule, text
from maskline_train.paper.tables import load_table, table_names
from maskline_train.recipes import load_recipe
from maskline_train.training.schedule import Cosine

TABLES = list(table_names())


@pytest.mark.parametrize("small", [True, False], ids=["small", "full"])
@pytest.mark.parametrize("name", TABLES)
def test_every_row_makes_another_run_of_equal_budget(name, small):
    table = load_table(name)
    recipe = load_recipe(table.small if small else table.full)(("a", "b"))
    variants = [row.change(recipe) for row in table.rows]
    runs = {
        json.dumps([variant.to_dict(), row.start, row.stagewise, row.augmented, row.needs])
        for row, variant in zip(table.rows, variants, strict=True)
    }
    assert len(runs) == len(table.rows)
    if table.equal_budgets:
        budgets = {dataclasses.replace(variant.training, seed=0) for variant in variants}
        assert budgets == {dataclasses.replace(recipe.training, seed=0)}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_names_ledger_rows_and_columns_that_exist(name):
    table = load_table(name)
    assert len({folder_of(row.name) for row in table.rows}) == len(table.rows)
    for index, row in enumerate(table.rows):
        assert re.fullmatch(r"P[0-7]\d", row.ledger)
        assert set(row.paper) <= set(table.columns())
        before = table.rows[index - 1] if index else None
        assert not row.augmented or (before and not before.stagewise)  # it evaluates one model


@pytest.mark.parametrize("name", TABLES)
def test_a_table_s_header_has_both_commands_hardware_and_time(name):
    header = importlib.import_module(f"maskline_train.paper.tables.{name}").__doc__
    assert f"maskline-train ablate {name} --data" in header
    assert f"-m maskline_train.cli ablate {name} --recipe {load_table(name).full}" in header
    assert re.search(r"^Hardware: small, .*; full, ", header, re.MULTILINE)
    assert re.search(r"^Time: {5}small, .*; full, ", header, re.MULTILINE)


def test_the_schedules_of_the_later_tables_are_those_of_the_paper():
    steps = {}
    for name in ("table_9", "table_8", "table_7"):
        recipe = load_recipe(load_table(name).full)(("a", "b"))
        for row in load_table(name).rows:
            training = row.change(recipe).training
            steps[name, row.name] = (training.steps, *training.decay.milestones)
    assert steps["table_7", "fine"] == (24_000, 18_000)
    assert steps["table_7", "fine and COCO"] == (4_000, 3_000)
    assert steps["table_8", "original"] == (160_000, 120_000)
    assert steps["table_8", "updated baseline"] == steps["table_8", "end to end"] == (180_000, 120_000, 160_000)
    assert (
        steps["table_8", "scales in training"] == steps["table_8", "scales in testing"] == (260_000, 200_000, 240_000)
    )
    assert steps["table_9", "original"] == (90_000, 60_000, 80_000)
    assert steps["table_9", "updated baseline"] == steps["table_9", "ResNet-101"] == (130_000, 100_000, 120_000)


def test_a_cosine_is_stretched_by_the_paper_s_schedule():
    base = load_recipe("ablation_small")(("a",))
    training = schedule(240, 100)(base).training
    assert training.steps == 1.5 * base.training.steps
    assert training.decay == base.training.decay
    assert isinstance(training.decay, Cosine)


def test_the_enhanced_rows_change_what_the_appendix_says():
    recipe = load_recipe("mask_rcnn_x101_fpn")(("a",))
    changed = {row.name: row.change(recipe) for row in load_table("table_8").rows}
    nms = {name: variant.model.box_head.nms_thresh for name, variant in changed.items()}
    assert [nms.pop("original"), *set(nms.values())] == [0.3, 0.5]
    assert changed["end to end"].augmentation.shorter_side_px is None
    assert changed["scales in training"].augmentation.shorter_side_px == (640, 800)
    assert [changed[name].model.backbone.depth for name in ("scales in training", "deeper")] == [101, 152]
    assert [changed[name].model.backbone.non_local for name in ("deeper", "non-local")] == [False, True]


def test_figures_that_the_text_lacks_wear_a_dagger():
    assert str(text(mask_AP=30.3)["mask AP"]) == "30.3"
    assert str(published(mask_AP50=51.2)["mask AP50"]) == "51.2†"


def test_the_table_of_branches_needs_a_recipe_with_all_of_them():
    with pytest.raises(
        ValueError, match="got a base recipe without masks or keypoints, expected both; leave out --recipe"
    ):
        load_table("table_5").rows[0].change(load_recipe("ablation_small")(("a",)))


def test_an_unknown_table_is_refused():
    with pytest.raises(ValueError, match=r"table: got 'table_99', expected one of .*table_2b"):
        load_table("table_99")


def test_digits_are_not_tested_on_mirror_images_and_figures_are():
    digits, figures = (load_recipe(name)(("a",)) for name in ("ablation_small", "ablation_small_figures"))
    assert [len(views_of(recipe)) for recipe in (digits, figures)] == [9, 18]
    assert not any(view.flipped for view in views_of(digits))
