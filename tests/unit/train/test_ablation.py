"""Ablations: every packaged table's rows make valid recipes, and a run prints, resumes and shows what it found."""

import dataclasses
import json
import re

import pytest
import tiny_recipe
from maskline_train.ablate import ablate, as_rich, folder_of
from maskline_train.ablation import METRICS, Row, Table, edit, load_table, published, table_names, text
from maskline_train.data.coco import CocoDataset
from maskline_train.distributed import process_group
from maskline_train.recipe import load_recipe
from PIL import Image
from rich.console import Console
from shapes_data import write_shapes

TABLES = list(table_names())
TWO_ROWS = Table(
    title="A table",
    setting="none",
    finding="Two ratios.",
    kinds=("mask",),
    rows=(
        Row("one point", "P13", edit("roi_align", sampling_ratio=1), text(mask_AP=30.3) | published(mask_AP50=51.2)),
        Row("two points", "P13", edit("roi_align", sampling_ratio=2), {}),
    ),
)


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("name", TABLES)
def test_every_row_makes_another_recipe_of_equal_budget(name, small):
    table = load_table(name)
    if "keypoint" in table.kinds:
        base = "figures_mask_keypoints" if small else "keypoint_mask_rcnn_r50_fpn"
    else:
        base = "ablation_small" if small else "mask_rcnn_r50_fpn"
    recipe = load_recipe(base)(("a", "b"))
    changed = [row.change(recipe) for row in table.rows]
    assert all(variant.training == recipe.training for variant in changed)
    assert len({json.dumps(variant.to_dict()) for variant in changed}) == len(table.rows)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_names_ledger_rows_and_columns_that_exist(name):
    table = load_table(name)
    assert len({folder_of(row) for row in table.rows}) == len(table.rows)
    for row in table.rows:
        assert re.fullmatch(r"P[0-7]\d", row.ledger)
        assert set(row.paper) <= set(table.columns())


def test_figures_that_the_text_lacks_wear_a_dagger():
    assert str(text(mask_AP=30.3)["mask AP"]) == "30.3"
    assert str(published(mask_AP50=51.2)["mask AP50"]) == "51.2†"


def test_the_table_of_branches_needs_a_recipe_with_all_of_them():
    with pytest.raises(ValueError, match="got a base recipe without masks or keypoints, expected both; add --recipe"):
        load_table("table_5").rows[0].change(load_recipe("ablation_small")(("a",)))


def test_an_unknown_table_is_refused():
    with pytest.raises(ValueError, match=r"table: got 'table_99', expected one of .*table_2b"):
        load_table("table_99")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablation")
    data = write_shapes(folder / "data", {"train": 4, "val": 3})
    train_set, val_set = CocoDataset(data, "train"), CocoDataset(data, "val")
    recipe = tiny_recipe.build(train_set.classes)
    recipe = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, steps=2))
    said = []

    def again():
        with process_group() as processes:
            return ablate(TWO_ROWS, recipe, train_set, val_set, folder / "out", processes, say=said.append)

    return again(), again, said, folder / "out"


def test_a_run_has_one_result_a_row_and_does_not_train_twice(run):
    found, again, said, _ = run
    assert [result.name for result in found] == ["one point", "two points"]
    assert all({f"mask {name}" for name in METRICS} <= set(result.metrics) for result in found)
    said.clear()
    assert again() == found
    assert all("has its result" in line for line in said)


def test_a_run_shows_both_sides(run):
    found, _, _, out = run
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(as_rich(TWO_ROWS, found))
    shown = console.export_text()
    assert "30.3" in shown
    assert "51.2†" in shown
    written = (out / "table.md").read_text()
    assert "| one point (P13) |" in written
    assert "2 steps each" in written
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.width > sheet.height  # three columns and three lines of pictures of 128 x 96
