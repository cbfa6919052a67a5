"""4-step training and distillation by two gloo processes give what one process gives."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from maskline_train.checkpoint import read_weights
from maskline_train.paper.four_step import FOLDERS
from maskline_train.training.metrics_log import read_metrics
from support.data.shapes_data import write_shapes
from support.processes import stages_worker
from support.processes.two import by_one_and_by_two


@pytest.fixture(scope="module")
def outs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The worker's output by one process, here, and by two."""
    folder = tmp_path_factory.mktemp("stages")
    data = write_shapes(folder / "shapes", {"train": 8, "val": 3})
    images = shutil.copytree(write_shapes(folder / "other", {"train": 3}, seed=1) / "train", folder / "photos")
    return by_one_and_by_two(stages_worker, (data, images), folder, torchrun=False)


def test_both_processes_hold_the_same_weights_after_every_stage(outs: tuple[Path, Path]) -> None:
    ranks = [json.loads((outs[1] / f"rank-{rank}.json").read_text()) for rank in (0, 1)]
    assert len(ranks[0]["weights"]) == len(FOLDERS)
    assert ranks[0]["weights"] == ranks[1]["weights"]
    assert len(set(ranks[0]["weights"])) == len(FOLDERS)


def test_the_main_process_alone_writes(outs: tuple[Path, Path]) -> None:
    main, other = (json.loads((outs[1] / f"rank-{rank}.json").read_text())["written"] for rank in (0, 1))
    assert {"metrics.jsonl", "recipe.json", "instances_train.json", "distilled"} <= set(main)
    assert other == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_stage_of_two_processes_is_that_of_one(outs: tuple[Path, Path], folder: str) -> None:
    """Losses, the evaluation that was shared out, and the weights, on halves of a batch and on the whole of it."""
    one, two = (read_metrics(out / "four" / folder / "metrics.jsonl") for out in outs)
    assert [entry["kind"] for entry in one][:2] == ["train", "train"]
    for ours, theirs in zip(two, one, strict=True):
        for name in set(theirs) - {"kind", "images_per_s"}:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3, abs=1e-6), name  # two steps apart, and summed
    weights = [read_weights(out / "four" / folder / "last" / "model.safetensors") for out in outs]
    for name, weight in weights[0].items():
        # as tests/unit/train/training/test_ddp.py: float32 sums in another order, a few steps on
        torch.testing.assert_close(
            weights[1][name], weight, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_distillation_by_two_processes_is_that_of_one(outs: tuple[Path, Path]) -> None:
    """Each image is looked at by one of them, so the same model finds the same, digit for digit."""
    one, two = ((out / "distilled" / "annotations" / "instances_train.json").read_text() for out in outs)
    assert two == one
    content = json.loads(one)
    generated = [entry for entry in content["annotations"] if "score" in entry]
    assert {image["file_name"] for image in content["images"]} >= {f"unlabelled/{i:04d}.png" for i in (1, 2, 3)}
    assert len({entry["image_id"] for entry in generated}) > 1  # of both processes' images
    assert not list(outs[1].glob(".distilled.*"))
