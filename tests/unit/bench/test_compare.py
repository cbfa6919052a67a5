"""The comparison's parts: pictures, accuracy, timing, gate, page. The whole of it: through_triton in test_owed.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask
import pytest
from maskline_bench.both_models import QUICK
from maskline_bench.compare.__main__ import check
from maskline_bench.compare.accuracy import accuracy
from maskline_bench.compare.page import HEAD, page
from maskline_bench.compare.plot import plot
from maskline_bench.compare.sides import (
    AUTOCAST,
    COMPILED,
    DETECTRON2,
    EAGER,
    TENSORRT,
    TRITON,
    Side,
    in_batches,
    left_out,
)
from maskline_bench.compare.timing import Timed, time_in_turn
from maskline_bench.errors import BenchmarkError
from maskline_bench.made_model import made_model, same_pixels
from maskline_bench.peers import decode
from maskline_bench.serving.eager import Found
from maskline_bench.serving.gate import Agreement

ROOT = Path(__file__).parents[3]
RESULTS = sorted((ROOT / "docs" / "benchmarks").glob("compare_*.json"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory):
    return made_model(tmp_path_factory.mktemp("made"), "quick", lambda line: None).pictures()


def drawn(picture, shift: float = 0.0) -> Found:
    """An answer that is what was drawn, its boxes moved."""
    masks = [pycocotools.mask.encode(np.asfortranarray(mask)) for mask in picture.masks.numpy()]
    count = len(masks)
    return Found(picture.boxes.numpy() + np.float32(shift), np.ones(count, np.float32), picture.labels.numpy(), masks)


def test_pictures_lie_stand_and_are_square_with_their_objects(pictures) -> None:
    height, width = QUICK.image
    assert [p.picture.shape[:2] for p in pictures] == [(height, width), (width, height), (height, height)]
    for picture in pictures:
        assert (decode(picture.file) == picture.picture).all()
        assert len(picture.boxes) == len(picture.labels) == len(picture.masks) > 0
        for box, mask in zip(picture.boxes.numpy(), picture.masks.numpy(), strict=True):
            rows, columns = np.nonzero(mask)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert decode(same_pixels(pictures)[1]).shape == (2 * width, 2 * height, 3)


def test_ap_is_full_for_what_was_drawn_and_falls_with_moved_boxes(pictures) -> None:
    assert accuracy([drawn(p) for p in pictures], pictures) == {"bbox": pytest.approx(100), "segm": pytest.approx(100)}
    moved = accuracy([drawn(p, shift=2.0) for p in pictures], pictures)
    assert moved["bbox"] < 90
    assert moved["segm"] == pytest.approx(100)
    nothing = Found(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), [])
    assert accuracy([nothing] * len(pictures), pictures) == {"bbox": 0.0, "segm": 0.0}


def test_batches_keep_the_order_and_an_answer_takes_as_long_as_its_batch() -> None:
    sizes: list[int] = []

    def answer(files):
        sizes.append(len(files))
        return [file.decode() for file in files]

    found, milliseconds = in_batches(answer)([b"a", b"b", b"c", b"d", b"e"], 2)  # type: ignore[arg-type]
    assert found == list("abcde")
    assert sizes == [2, 2, 1]
    assert milliseconds[0] == milliseconds[1] != milliseconds[2]


def test_sides_take_turns_and_only_with_numbers_they_take() -> None:
    order: list[tuple[str, int, list[bytes]]] = []

    def side(name: str, at_once: tuple[int, ...]) -> Side:
        def run(files, number):
            order.append((name, number, list(files)))
            return [None] * len(files), [1.0] * len(files)

        return Side(name, "fp32", run, at_once)

    sides = [side("ours", (1, 16)), side("theirs", (1,))]
    one = time_in_turn(sides, [b"a", b"b"], 1, warmup=1, rounds=2, tell=lambda line: None)
    assert [(name, files) for name, _, files in order] == [
        (name, [file]) for file in (b"a", b"b", b"a") for name in ("ours", "theirs")
    ]
    assert {name: timed.images for name, timed in one.items()} == {"ours": 2, "theirs": 2}
    many = time_in_turn(sides, [b"a", b"b"], 16, warmup=0, rounds=1, tell=lambda line: None)
    assert list(many) == ["ours"]
    assert many["ours"].images == 64  # four for each in flight


def test_figures_of_a_run() -> None:
    timed = Timed([2.0, 2.0], 8, [100.0, 300.0])
    found = timed.to_dict(gflop=50.0, peak_gflop_s=1000.0)
    assert found["images_per_second"] == 2.0
    assert found["p50_ms"] == 200.0
    assert found["share_of_gemm_peak"] == pytest.approx(0.1)


def test_a_side_that_finds_other_objects_is_not_timed() -> None:
    good, bad = Agreement(10, 10, 10, 0.99, 0.0), Agreement(10, 10, 9, 0.99, 0.0)
    check("side", "fp32", [good], 0.8)
    with pytest.raises(BenchmarkError, match="side: both sides find other objects in the same pixels: 9 of 10"):
        check("side", "fp32", [bad], 0.8)
    check("side", "bf16", [bad], 0.8)
    with pytest.raises(BenchmarkError, match=r"side: shares of objects that match: got \[0.4\], expected 0.5"):
        check("side", "bf16", [Agreement(10, 10, 4, 0.99, 0.0)], 0.8)


def test_who_is_left_out_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: False)
    found = left_out("cpu", quick=False)
    assert found[AUTOCAST] == "this processor has no instructions for bf16"
    assert found[TENSORRT] == "no GPU was asked for"
    assert found[DETECTRON2] == "no Python module detectron2"
    assert COMPILED not in found
    assert left_out("cpu", quick=True)[COMPILED] == "a smoke run"
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True)
    assert AUTOCAST not in left_out("cpu", quick=False)


def result() -> dict[str, Any]:
    run = {"images_per_second": 2.0, "p50_ms": 500.0, "p99_ms": 600.0, "share_of_gemm_peak": 0.5}
    side = {"precision": "fp32", "cuda_graph": False, "matched": 1.0, "ap_lost": {"segm": 0.0}, "peak_mib": 100.0}
    return {
        "when": "2026-11-27T10:00:00", "machine": {"cpu": "AMD EPYC", "cores": 2}, "versions": {"torch": "2.11.0"},
        "setting": {"canvas": [416, 672], "proposals": 1000, "detections": 100}, "images": [[200, 333, 25]],

        "gflop": 100.0, "gemm_gflop_s": {"fp32": 200.0}, "clocks": {}, "note": "Shared.",
        "left_out": {DETECTRON2: "not here"},
        "sides": {
            TRITON: {**side, "runs": {"1": {**run, "images_per_second": 3.0}, "16": run}, "peak_mib": {"a": 1, "b": 2}},
            EAGER: {**side, "runs": {"1": run}},
        },
    }  # fmt: skip


def test_a_page_has_a_row_for_each_run(tmp_path: Path) -> None:
    file = tmp_path / "compare_cpu.json"
    file.write_text(json.dumps(result()))
    text = page([file])
    assert f"| {TRITON} | fp32 | 1 | 3 | 1.50 | 500 | 600 | 50% | 100.0% | 0.0 | 3 |" in text
    assert '| " | " | 16 | 2 | - | 500 | 600 | 50% | " | " | " |' in text
    assert f"Left out: {DETECTRON2}: not here." in text
    assert "Shared." in text


def test_the_same_result_is_the_same_plot() -> None:
    first, second = plot(result(), "svg"), plot(result(), "svg")
    assert first == second
    assert b"images a second" in first
    assert TRITON.encode() in first


def test_the_committed_page_and_plots_are_what_the_command_writes() -> None:
    assert RESULTS
    docs = ROOT / "docs"
    assert (docs / "compare.md").read_text("utf-8") == page(RESULTS), "run `make compare-page`"
    assert page([]) == HEAD
    for file in RESULTS:
        written = (docs / "pictures" / f"{file.stem}.svg").read_bytes()
        assert written == plot(json.loads(file.read_text("utf-8")), "svg"), "run `make compare-page`"
