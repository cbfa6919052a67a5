"""A run of an ablation: it starts its rows alike, goes on where it was, refuses other settings, shows what it found."""

import dataclasses
import json
import re

import numpy as np
import pytest
from maskline_train.checkpoint import WEIGHTS_FILE, load_model, read_weights, save_model
from maskline_train.cli import app
from maskline_train.data.coco import CocoDataset
from maskline_train.distributed import process_group
from maskline_train.evaluation.evaluate import evaluate
from maskline_train.evaluation.many_views import PAPER_VIEWS
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.paper.report import as_rich
from maskline_train.paper.row import RESULT_FILE, SHEET_IMAGES
from maskline_train.paper.run_table import ablate, folder_of
from maskline_train.paper.table import (
    BODY,
    EVERYTHING,
    METRICS,
    Row,
    Table,
    edit,
    published,
    same,
    text,
)
from maskline_train.training.schedule import StepDecay
from PIL import Image
from rich.console import Console
from support.data.shapes_data import write_shapes
from support.models import tiny_recipe
from typer.testing import CliRunner

TWO_ROWS = Table(
    title="A table",
    setting="none",
    finding="Two ratios.",
    kinds=("mask",),
    rows=(
        Row("one point", "P13", edit("roi_align", sampling_ratio=1), text(mask_AP=30.3) | published(mask_AP50=51.2)),
        Row("two points", "P13", edit("roi_align", sampling_ratio=2), {}),
        Row("many points", "P13", edit("roi_align", sampling_ratio=7), {}, needs="patience"),
    ),
)
OTHER_WAYS = Table(
    title="Other ways to train and to test",
    setting="none",
    finding="None.",
    kinds=("mask", "box"),
    rows=(
        Row("from the body alone", "P13", edit("roi_align", sampling_ratio=2), {}, start=BODY),
        Row("from everything", "P13", edit("roi_align", sampling_ratio=2), {}, start=EVERYTHING),
        Row("many views", "P46", edit("roi_align", sampling_ratio=2), {}, augmented=True),
        Row("in stages", "P35", same, {}, stagewise=True),
    ),
)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    data = write_shapes(tmp_path_factory.mktemp("data") / "shapes", {"train": 4, "val": 3})
    return CocoDataset(data, "train"), CocoDataset(data, "val")


@pytest.fixture(scope="module")
def recipe(sets):
    recipe = tiny_recipe.build(sets[0].classes)
    training = dataclasses.replace(recipe.training, steps=2, decay=StepDecay(milestones=(1,)))
    return dataclasses.replace(recipe, training=training)


@pytest.fixture(scope="module")
def start(recipe, tmp_path_factory):
    """A checkpoint folder of the recipe's network."""
    folder = tmp_path_factory.mktemp("start")
    save_model(folder, MaskRCNN(recipe.model, recipe.sampling))
    return folder


@pytest.fixture(scope="module")
def runner(recipe, sets, start, tmp_path_factory):
    """Runs a table; returns the results, the lines said and the folder of all tables."""
    out = tmp_path_factory.mktemp("ablations")

    def run(table, name, *, changed=recipe, **options):
        said = []
        with process_group() as processes:
            found = ablate(table, changed, *sets, out / name, processes, init=start, say=said.append, **options)
        return found, said, out

    return run


@pytest.fixture(scope="module")
def run(runner):
    return runner(TWO_ROWS, "two")


def test_a_run_has_one_result_a_row_and_leaves_out_what_it_cannot_do(run):
    found, said, _ = run
    assert [result and result.name for result in found] == ["one point", "two points", None]
    assert all({f"mask {name}" for name in METRICS} <= set(result.metrics) for result in found[:2])
    assert said[-1] == "row 3 of 3, many points: left out, it needs patience: --row many-points runs it"


def test_a_run_does_not_train_twice(run, runner):
    again, said, _ = runner(TWO_ROWS, "two")
    assert again == run[0]
    assert sum("has its result" in line for line in said) == 2
    assert not any("training" in line for line in said)


def test_a_run_shows_both_sides_in_eighty_columns(run):
    found, _, out = run
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(as_rich(TWO_ROWS, found))
    shown = console.export_text()
    assert "30.3" in shown
    assert "51.2†" in shown
    assert "…" not in shown  # nothing is cut off
    written = (out / "two" / "table.md").read_text()
    assert "| one point (P13) |" in written
    assert "| many points (P13) | - |" in written
    assert "many points: not run, it needs patience." in written


def test_a_sheet_has_a_heading_over_each_column(run):
    _, _, out = run
    with Image.open(out / "two" / "sheet.png") as sheet:
        assert sheet.width > sheet.height  # three columns and three lines of pictures of 128 x 96
        heads = np.asarray(sheet.convert("L"))[:18]
    thirds = np.array_split(heads, 3, axis=1)
    assert all((third < 100).any() for third in thirds)  # letters
    assert (heads[:, :2] == 255).all()  # on white


def test_rows_start_from_the_trunk_and_not_from_heads(run, start):
    _, _, out = run
    taken = read_weights(out / "two" / "start" / "backbone-rpn_head" / WEIGHTS_FILE)
    assert {name.split(".")[0] for name in taken} == {"backbone", "rpn_head"}
    assert taken.keys() == {n for n in read_weights(start / WEIGHTS_FILE) if n.startswith(("backbone.", "rpn_head."))}
    log = (out / "two" / "one-point" / "train.log").read_text()
    assert f"{len(taken)} tensors fit" in log


def test_a_result_of_other_settings_is_not_taken_for_this_one(run, runner, recipe):
    longer = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, steps=3))
    with pytest.raises(ValueError, match="one-point: holds a run of another recipe, number of steps"):
        runner(TWO_ROWS, "two", changed=longer)


def test_a_run_without_result_is_not_continued_with_other_settings(runner, recipe):
    other = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, seed=9))
    _, _, out = runner(TWO_ROWS, "stopped", changed=other, only=["one point"])
    (out / "stopped" / "one-point" / RESULT_FILE).unlink()
    longer = dataclasses.replace(other, training=dataclasses.replace(other.training, steps=3))
    with pytest.raises(ValueError, match="holds a run of another recipe"):
        runner(TWO_ROWS, "stopped", changed=longer, only=["one point"])


def test_a_row_that_another_table_trained_is_taken_over(run, runner):
    first, _, out = run
    table = dataclasses.replace(TWO_ROWS, rows=(dataclasses.replace(TWO_ROWS.rows[1], name="the same"),))
    (found,), said, _ = runner(table, "three")
    assert found == dataclasses.replace(first[1], name="the same")
    assert said[0] == f"row 1 of 1, the same: has its result, from {out / 'two' / 'two-points'}"
    assert not (out / "three" / "the-same" / "last").exists()


def test_a_run_killed_before_its_result_is_evaluated_and_not_trained_again(run, runner):
    first, _, out = run
    (out / "two" / "one-point" / RESULT_FILE).unlink()
    found, _, _ = runner(TWO_ROWS, "two")
    assert found == first  # the seconds too: they are those of training


def test_one_row_can_be_run_alone(runner, recipe, sets, start):
    found, _, out = runner(TWO_ROWS, "alone", only=["many points"])
    assert [result and result.name for result in found] == [None, None, "many points"]
    with process_group() as processes:  # a row from another start, beside the one that is there
        both = ablate(TWO_ROWS, recipe, *sets, out / "alone", processes, init=start / WEIGHTS_FILE, only=["two-points"])
    assert both[2] == found[2]
    assert both[1].made_by != found[2].made_by
    with pytest.raises(ValueError, match="row: got 'no such', expected one of one-point, two-points, many-points"):
        runner(TWO_ROWS, "alone", only=["no such"])


def test_rows_start_train_and_test_in_their_own_ways(runner, sets):
    found, said, out = runner(OTHER_WAYS, "ways")
    body, everything, views, stages = (out / "ways" / folder_of(row.name) for row in OTHER_WAYS.rows)
    assert "stay random (first backbone.fpn" in (body / "train.log").read_text()
    assert "stay random" not in (everything / "train.log").read_text()
    assert found[2].run == "ways/from-everything"
    assert not (views / "last").exists()
    with process_group() as processes:
        model = load_model(everything / "last")
        metrics = evaluate(model, sets[1], processes, views=PAPER_VIEWS)
    shown = [entry for entry in metrics.results if entry["image_id"] in sets[1].image_ids[:SHEET_IMAGES]]
    assert found[2].results == shown
    assert found[2].results != found[1].results
    assert (stages / "1-rpn" / "last").exists()
    assert not (stages / "3-rpn").exists()
    assert found[3].seconds > 0
    assert any("from everything: mask AP" in line for line in said)


def test_views_without_a_row_above_are_refused(runner):
    with pytest.raises(ValueError, match="'many views': got no result above it"):
        runner(OTHER_WAYS, "views", only=["many views"])


def test_the_command_runs_a_row_and_prints_the_table(sets, start, tmp_path):
    words = ["ablate", "sampling_points", "--recipe", tiny_recipe.__file__, "--row", "adaptive", "--steps", "1"]
    options = ["--data", str(sets[0].root), "--init", str(start), "--out", str(tmp_path)]
    done = CliRunner().invoke(app, [*words, *options])
    assert done.exit_code == 0, done.output
    assert "row 1 of 3, 1 point a bin: left out" in done.output
    assert "row 3 of 3, adaptive: training 1 steps" in done.output
    assert re.search(r"adaptive \(P13\) +\d+\.\d .* 1 +\d+\.\d", done.output), done.output
    assert json.loads((tmp_path / "sampling_points" / "table.json").read_text())[0] is None


def test_the_command_lists_each_table_with_its_recipes():
    done = CliRunner().invoke(app, ["tables"])
    assert re.search(r"table_6 .*\n .*2 rows; --recipe ablation_small_figures or keypoint_rcnn_r50_fpn", done.output)
