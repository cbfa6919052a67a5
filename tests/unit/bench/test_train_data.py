"""The benchmark of training items: both sides read the same files, and what is not the same is never timed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from maskline_bench.errors import BenchmarkError
from maskline_bench.train_data.__main__ import check_agreement, main
from maskline_bench.train_data.made import make_folder
from maskline_bench.train_data.sides import their_stages
from maskline_train.data.coco import CocoDataset


def test_a_run_writes_stages_of_both_sides(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    main(images=2, objects=5, batch=2, rounds=1, warmup=0, json_file=tmp_path / "result.json")
    torch.set_num_threads(threads)
    result = json.loads((tmp_path / "result.json").read_text())
    assert list(result["stage_ms"]["maskline"]) == ["decode", "polygons", "resize", "flip", "collate"]
    for side, stages in result["stage_ms"].items():
        assert sum(stages.values()) == pytest.approx(1e3 / result["images_per_second"][side])


def test_sides_that_see_other_objects_are_not_timed(tmp_path: Path) -> None:
    """A polygon is moved after ours has read the file, and before theirs does."""
    root = make_folder(tmp_path, 2)
    dataset = CocoDataset(root, "train")
    coco = dataset.coco_api()
    check_agreement(dataset, their_stages(coco, dataset))
    entry = next(e for e in coco.dataset["annotations"] if e["iscrowd"] == 0)
    entry["segmentation"][0] = [1.0, 1.0, 9.0, 1.0, 9.0, 9.0]
    with pytest.raises(BenchmarkError, match="other pixels, boxes or masks"):
        check_agreement(dataset, their_stages(coco, dataset))


def test_the_files_are_the_same_every_time_and_like_cocos(tmp_path: Path) -> None:
    one, two = (make_folder(tmp_path / name, 5) for name in ("one", "two"))
    for path in sorted(path.relative_to(one) for path in one.rglob("*.*")):
        assert (one / path).read_bytes() == (two / path).read_bytes()
    dataset = CocoDataset(one, "train")
    assert [len(dataset.objects(index).labels) for index in range(5)] == [7] * 5
    assert dataset.unused == {"crowd regions": 2}
