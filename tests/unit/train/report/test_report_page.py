"""The report's page: what is on it, what it is compared with, how large it may become."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from maskline_train.checkpoint import save_model
from maskline_train.cli import main
from maskline_train.data.coco import CocoDataset
from maskline_train.evaluation.evaluate import score
from maskline_train.report.findings import CROPS, WORST_IMAGES
from maskline_train.report.write import write_report
from maskline_train.training.metrics_log import read_metrics
from PIL import Image
from support.data.shapes_data import write_shapes
from support.models.tiny import tiny_model, tiny_spec
from support.processes.in_process import call

RECIPE = str(Path(__file__).parents[3] / "support" / "models" / "tiny_recipe.py")
TITLES = {
    *("What was trained", "What has changed", "Losses", "Learning rate", "Average precision over the steps"),
    *("Average precision", "By class", "Confusion between classes", "Worst images"),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, and a run of three steps below `runs`."""
    root = tmp_path_factory.mktemp("report")
    write_shapes(root / "shapes", {"train": 4, "val": 4})
    assert fit(root, "first", 3) == 0
    return root


def fit(root: Path, name: str, steps: int) -> int:
    out = str(root / "runs" / name)
    return call(main, "fit", RECIPE, "--data", str(root / "shapes"), "--out", out, "--steps", str(steps))


def titles(page: str) -> set[str]:
    return set(re.findall(r"<h2>([^<]*)</h2>", page))


def num_objects(runs: Path) -> int:
    return len(json.loads((runs / "shapes" / "annotations" / "instances_val.json").read_text())["annotations"])


def test_fit_leaves_a_page_that_needs_nothing_else_and_its_figures(runs: Path) -> None:
    out = runs / "runs" / "first"
    page = (out / "report.html").read_text(encoding="utf-8")
    assert titles(page) >= TITLES
    assert not re.search(r"(src|[^:]href)=\"(?!data:)|@import|url\((?!#)", page)  # clip paths are in the page itself
    assert "No other finished run beside this one was scored on the same images" in page
    assert "started from random weights" in page
    numbers = json.loads((out / "report.json").read_text())
    last = read_metrics(out / "metrics.jsonl")[-1]
    assert {f"{kind}_AP": values["AP"] for kind, values in numbers["ap"].items()}.items() <= last.items()
    assert numbers["recipe"] == json.loads((out / "recipe.json").read_text())
    assert sum(one["objects"] for one in numbers["classes"].values()) == num_objects(runs)
    # Each object is found, found as another, or missed.
    counted = sum(one["count"] for one in numbers["confusion"] if one["truth"] is not None)
    assert counted == num_objects(runs)


def test_a_run_is_compared_with_the_last_one_beside_it_on_the_same_images(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not with a later one on other data, nor with a file that is no report."""
    other = json.loads((runs / "runs" / "first" / "report.json").read_text())
    other["data"]["sha256"], other["finished"] = "0" * 64, "9999-01-01 00:00:00 UTC"
    for name, content in (("elsewhere", json.dumps(other)), ("broken", "{")):
        (runs / "runs" / name).mkdir()
        (runs / "runs" / name / "report.json").write_text(content)
    assert fit(runs, "second", 4) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == f"report: {runs / 'runs' / 'second' / 'report.html'}"
    page = (runs / "runs" / "second" / "report.html").read_text(encoding="utf-8")
    assert "Since first, finished " in page
    assert "<td>training.steps</td><td>3</td><td>4</td>" in page


def test_evaluate_makes_the_page_of_a_run_and_of_a_checkpoint_alone(runs: Path, tmp_path: Path) -> None:
    alone = shutil.copytree(runs / "runs" / "first" / "last", tmp_path / "alone" / "checkpoint")
    for checkpoint, of_run in ((runs / "runs" / "first" / "last", True), (alone, False)):
        file = tmp_path / "new" / "page.html"
        words = ("--data", str(runs / "shapes"), "--report", str(file))
        assert call(main, "evaluate", str(checkpoint), *words) == 0
        page = file.read_text(encoding="utf-8")
        assert ("Losses" in titles(page)) == of_run
        assert ("not known: no recipe.json" in page) != of_run
        assert titles(page) >= {"By class", "Confusion between classes"}


def test_a_model_for_boxes_alone_has_a_page(runs: Path, tmp_path: Path) -> None:
    spec = dataclasses.replace(tiny_spec(), mask_head=None, classes=CocoDataset(runs / "shapes", "val").classes)
    save_model(tmp_path / "boxes", tiny_model(spec))
    file = tmp_path / "page.html"
    words = ("--data", str(runs / "shapes"), "--report", str(file))
    assert call(main, "evaluate", str(tmp_path / "boxes"), *words) == 0
    page = file.read_text(encoding="utf-8")
    assert "boxes with an IoU of 0.5 or more" in page
    assert "mask AP" not in page


def test_of_hundreds_of_classes_confusions_are_listed(runs: Path, tmp_path: Path) -> None:
    """365 classes; the first object of each image is found as the class behind its own."""
    root = shutil.copytree(runs / "shapes", tmp_path / "many")
    file = root / "annotations" / "instances_val.json"
    content = json.loads(file.read_text())
    content["categories"] = [{"id": i, "name": f"thing {i}"} for i in range(1, 366)]
    file.write_text(json.dumps(content))
    dataset = CocoDataset(root, "val")
    first = {one["image_id"]: one for one in reversed(content["annotations"])}
    results = [
        {"image_id": key, "category_id": one["category_id"] + 1, "bbox": one["bbox"], "score": 0.9}
        for key, one in sorted(first.items())
    ]
    metrics = score(dataset, results, dataset.image_ids, masks=False)
    write_report(tmp_path / "page.html", dataset, metrics, None, "made")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert titles(page) >= {"Calibration of scores", "Confident false finds", "Worst images"}
    assert '<table class="matrix">' not in page
    one = first[1]["category_id"]
    assert f"<td>thing {one}</td><td>thing {one + 1}</td>" in page
    assert "0 detections on background." in page
    assert page.count("<td>thing 365</td>") == 1


def test_a_page_stays_below_ten_megabytes(tmp_path: Path) -> None:
    """Pictures of noise, which no compression makes small, each with detections that are wrong."""
    root = write_shapes(tmp_path / "shapes", {"val": 14}, most=1)
    file = root / "annotations" / "instances_val.json"
    content = json.loads(file.read_text())
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8))
    for image in content["images"]:
        image["height"], image["width"] = 512, 512
        noise.save(root / "val" / image["file_name"])
    file.write_text(json.dumps(content))
    dataset = CocoDataset(root, "val")
    results = [
        {"image_id": key, "category_id": 1, "bbox": [150.0 + 9 * i, 200.0, 200.0, 150.0], "score": 0.9 - 0.01 * i}
        for key in dataset.image_ids
        for i in range(2)
    ]
    metrics = score(dataset, results, dataset.image_ids, masks=False)
    write_report(tmp_path / "page.html", dataset, metrics, None, "made")
    page = (tmp_path / "page.html").read_bytes()
    assert page.count(b"<img") >= 2 * WORST_IMAGES + 2 * CROPS
    assert 5e6 < len(page) < 10e6
