"""The client's ground truth is read by the rules of training; what a file may leave out does not end in a traceback."""

import json
from pathlib import Path

import pytest
from maskline_client import Detector
from maskline_client import cli as client_cli
from maskline_client.commands import evaluate as evaluation
from maskline_client.commands.evaluate import read_split
from maskline_coco.errors import DataError
from support.processes.in_process import call
from unit.client.commands.test_evaluate import evaluate, write_data
from unit.client.triton_double import Server


def change(path: Path, **values: object) -> None:
    """Set fields of the first annotation."""
    data = json.loads(path.read_text())
    data["annotations"][0].update(values)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    "values",
    [
        {"iscrowd": None},
        {"area": None},
        {"segmentation": None},
        {"segmentation": []},
        {"segmentation": [[1, 2, 3, 4]]},
    ],
    ids=str,
)
def test_what_training_reads_is_scored(server: Server, tmp_path: Path, values: dict) -> None:
    """An object without a mask is no ground truth; the answer that finds it comes behind the right one of its class."""
    change(write_data(tmp_path) / "annotations" / "instances_val.json", **values)
    with Detector(server.url) as detector:
        scores, _ = evaluate(detector, read_split(tmp_path, "val"))
    assert scores.box["AP"] == pytest.approx(1)
    assert scores.mask["AP"] == pytest.approx(1)


def test_an_object_of_id_0_is_found(server: Server, tmp_path: Path) -> None:
    change(write_data(tmp_path, image_ids=(3,)) / "annotations" / "instances_val.json", id=0)
    with Detector(server.url) as detector:
        scores, _ = evaluate(detector, read_split(tmp_path, "val"))
    assert scores.box["AP"] == pytest.approx(1)


def test_a_split_is_read_whole_whatever_part_of_it_is_sent(tmp_path: Path) -> None:
    (write_data(tmp_path) / "val" / "7.png").unlink()
    with pytest.raises(DataError, match=r"7\.png: no such image"):
        read_split(tmp_path, "val", max_images=1)


def test_the_results_are_written_before_they_are_scored(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_args: object, **_kwargs: object) -> None:
        raise ValueError("no score")

    monkeypatch.setattr(evaluation, "score", fails)
    file = tmp_path / "results.json"
    command = ("evaluate", "--data", str(write_data(tmp_path / "set")), "--url", server.url, "--results", str(file))
    assert call(client_cli.main, *command) == 2
    assert len(json.loads(file.read_text())) == 6
