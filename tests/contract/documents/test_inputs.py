"""`data check`, `fit`, `evaluate` and the client's `evaluate` answer the same to whatever a COCO file says.

One table: docs/inputs.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import maskline_client.cli
import maskline_train.checkpoint
import maskline_train.cli
import maskline_train.fit
import numpy as np
import pytest
from maskline_coco.metric import average_precision, without
from maskline_coco.split import read_split
from maskline_coco.truth import ground_truth
from support.data.inputs_table import COLUMNS, FIELDS, KIND, Field, good, write
from support.processes.in_process import call

PAGE = Path(__file__).parents[3] / "docs" / "inputs.md"
RECIPE = str(Path(__file__).parents[2] / "support" / "models" / "tiny_recipe.py")
MEASURE = Path(__file__).parents[2] / "support" / "data" / "inputs_memory.py"
MOST_BYTES = 50_000_000  # the files are of 100 kB at most; 22.7 GB before, for one coordinate of 1e9


class TakenError(Exception):
    """The command has read the files and goes on to its work."""


def taken(*_args: object, **_kwargs: object) -> None:
    raise TakenError


def cells() -> dict[str, dict[str, str]]:
    """The page's table: field, column, what it says."""
    rows = [
        line.strip("| ").split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:3] == "| `"
    ]
    return {row[0].replace("`", ""): dict(zip(COLUMNS, row[1:], strict=True)) for row in rows}


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple]:
    """The four, each stopped where it has read its files."""
    monkeypatch.setattr(maskline_train.fit, "barrier", taken)
    monkeypatch.setattr(maskline_train.checkpoint, "load_model", taken)
    monkeypatch.setattr(maskline_client.cli, "_detector", taken)
    train, client, root = maskline_train.cli.main, maskline_client.cli.main, str(tmp_path)
    return {
        "check": (train, "data", "check", root, "--annotations", KIND),
        "fit": (train, "fit", RECIPE, "--data", root, "--out", f"{root}/out", "--annotations", KIND),
        "evaluate": (train, "evaluate", "checkpoint", "--data", root, "--annotations", KIND),
        "client": (client, "evaluate", "--data", root, "--annotations", KIND),
    }


def answer(command: tuple, capsys: pytest.CaptureFixture[str]) -> str:
    """ "taken", or the line it ends with, without the name of the program and the split."""
    try:
        status = call(*command)
    except TakenError:
        return "taken"
    line = capsys.readouterr().err
    if status == 0:
        return "taken"
    assert line.count("\n") == 1, line
    return line.split(": ", 1)[1].replace("_val.json", "_train.json").replace("/val/", "/train/").strip()


def test_the_page_has_every_field() -> None:
    assert list(cells()) == [field.name for field in FIELDS]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_all_four_answer_what_the_page_says(field: Field, tmp_path: Path, commands, capsys) -> None:
    for column in COLUMNS:
        write(tmp_path, field.text(column))
        answers = {name: answer(command, capsys) for name, command in commands.items()}
        (said,) = set(answers.values()) if len(set(answers.values())) == 1 else [answers]
        assert isinstance(said, str), f"{field.name}, {column}: {answers}"
        assert len(said) < 600
        expected = cells()[field.name][column]
        assert expected.split()[0] == ("taken" if said == "taken" else "refused"), f"{column}: {said}"
        if said == "taken":
            scores_something(tmp_path)


def test_a_good_file_is_taken(tmp_path: Path, commands, capsys) -> None:
    write(tmp_path, json.dumps(good()))
    assert {name: answer(command, capsys) for name, command in commands.items()} == dict.fromkeys(commands, "taken")
    assert scores_something(tmp_path) == [1, 1, 1]


def scores_something(root: Path) -> list[float | None]:
    """The AP of boxes, masks and keypoints of answers that are the ground truth itself."""
    split = read_split(root, "train", KIND)
    truth = ground_truth(split.records, split.categories)
    results = [{**entry, "score": 1.0} for entry in truth.dataset["annotations"]]
    keys = [record.id for record in split.records]
    found = [average_precision(truth, results, kind, keys)[0]["AP"] for kind in ("bbox", "segm")]
    if not split.categories.keypoint_names:
        return found
    points = without(results, "bbox", "segmentation")
    return [*found, average_precision(truth, points, "keypoints", keys, np.array([0.05]))[0]["AP"]]


def test_reading_and_scoring_take_little_memory_whatever_is_said(tmp_path: Path) -> None:
    """Measured in a process of its own, by the most memory it ever held: what pycocotools takes is not Python's."""
    command = [sys.executable, str(MEASURE), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    numbers = json.loads(done.stdout)
    assert numbers["read"] == len(FIELDS) * len(COLUMNS)
    assert 0 < numbers["bytes"] < MOST_BYTES
