"""The file that is written makes the very recipe that was chosen, and reads as one that a person wrote."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from maskline_train.data.coco import CocoDataset
from maskline_train.new.choose import Chosen, choose
from maskline_train.new.code import constructor
from maskline_train.new.machine import Machine
from maskline_train.new.recipe_file import Places, recipe_text
from maskline_train.new.start import start_for
from maskline_train.new.survey import Survey, survey
from maskline_train.recipes import load_recipe
from maskline_train.spec import KeypointHeadSpec
from support.data.shapes_data import CLASSES, FLIP_PAIRS, write_shapes

ROOT = Path(__file__).parents[4]
MACHINE = Machine(cores=2, memory_gib=24, bf16=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("data") / "shapes", {"train": 4, "val": 3})


@pytest.fixture(scope="module")
def chosen(data: Path) -> tuple[Chosen, Survey]:
    dataset = CocoDataset(data, "train")
    found = survey(dataset)
    start = start_for(found, MACHINE, None)
    return choose(start, found, dataset, MACHINE, minutes=1, evaluated=3), found


PLACES = Places(Path("shapes"), "train", "val", "instances", Path("shapes.py"), Path("demo/base"), Path("runs/shapes"))


def test_the_file_makes_the_recipe_that_was_chosen(chosen: tuple[Chosen, Survey], tmp_path: Path) -> None:
    made, found = chosen
    file = tmp_path / "shapes.py"
    file.write_text(recipe_text(made, found, MACHINE, PLACES))
    assert load_recipe(str(file))(CLASSES) == made.recipe


@pytest.mark.parametrize("name", ["C:\\Users\\new", 'a"""b', "a\\", 'q"', "ü {x} %s", "N{BULLET}\\N{BULLET}"])
def test_names_of_any_kind_make_a_file_that_works(chosen: tuple[Chosen, Survey], tmp_path: Path, name: str) -> None:
    made, found = chosen
    classes = (name, "left " + name, *CLASSES)
    named = dataclasses.replace(found, classes=classes)
    places = PLACES._replace(data=Path(name.replace("/", "-")), run=Path("runs") / name)
    file = tmp_path / "made.py"
    file.write_text(recipe_text(made, named, MACHINE, places))
    built = load_recipe(str(file))
    assert built(CLASSES) == made.recipe
    assert name in built.__globals__["__doc__"]


def test_a_command_without_the_gpu_says_so() -> None:
    assert PLACES._replace(without_gpu=True).fit().startswith("CUDA_VISIBLE_DEVICES= maskline-train fit shapes.py ")


def test_every_reason_stands_in_the_file(chosen: tuple[Chosen, Survey], tmp_path: Path) -> None:
    made, found = chosen
    text = recipe_text(made, found, MACHINE, PLACES)
    comments = " ".join(line.strip().removeprefix("# ") for line in text.splitlines() if line.strip().startswith("#"))
    reasons = [reason for reason in made.reasons.values() if reason]
    assert len(reasons) >= 12
    for reason in reasons:
        assert reason in comments
    assert "4 pictures of 96x128 px" in text


def test_the_file_is_formatted_as_our_own(chosen: tuple[Chosen, Survey], tmp_path: Path) -> None:
    made, found = chosen
    file = tmp_path / "shapes.py"
    file.write_text(recipe_text(made, found, MACHINE, PLACES))
    for words in (("check",), ("format", "--check")):
        ruff = [sys.executable, "-m", "ruff", *words, "--config", str(ROOT / "pyproject.toml"), str(file)]
        assert subprocess.run(ruff, capture_output=True, check=False).returncode == 0, words


def test_keypoints_of_the_set_get_a_branch_that_knows_left_and_right(data: Path) -> None:
    found = survey(CocoDataset(data, "train"))
    head = start_for(found, MACHINE, None).recipe.model.keypoint_head
    assert head is not None
    assert head.names == found.keypoint_names
    assert head.flip_pairs == FLIP_PAIRS


def test_long_names_of_keypoints_are_written_one_a_line(data: Path) -> None:
    found = survey(CocoDataset(data, "train"))
    head = start_for(found, MACHINE, None).recipe.model.keypoint_head
    assert head is not None
    names = tuple(f'{name} of the "largest" square' for name in head.names)
    text = constructor(dataclasses.replace(head, names=names, flip_pairs=()), {}, {}, depth=2)
    assert text.count('\n                "') == len(names)
    assert eval(text, {"KeypointHeadSpec": KeypointHeadSpec}).names == names


def test_options_of_the_set_are_in_the_command_that_is_printed(tmp_path: Path) -> None:
    there = Places(
        Path("my data"), "train2017", "val", "person_keypoints", Path("it.py"), Path("demo/base"), Path("runs/it")
    )
    assert there.fit() == (
        "maskline-train fit it.py --data 'my data' --out runs/it --init demo/base --train-split train2017 "
        "--annotations person_keypoints"
    )
