"""The network of full size in parts: here a small one, two steps of it, through every link that a CPU has."""

from __future__ import annotations

from pathlib import Path

import pytest
from maskline_bench import full_size
from maskline_bench.errors import BenchmarkError


def test_nothing_is_evaluated_before_training_is_at_its_end(tmp_path: Path) -> None:
    checkpoint = tmp_path / "run" / "checkpoints" / "step-00000007"
    checkpoint.mkdir(parents=True)
    (tmp_path / "run" / "last").symlink_to(checkpoint)
    (tmp_path / "run" / "recipe.json").write_text('{"training": {"steps": 20}}')
    with pytest.raises(BenchmarkError, match=r"run: got 7 of 20 steps; run --part train again"):
        full_size.answers(tmp_path, "cpu")


@pytest.mark.long
@pytest.mark.triton
@pytest.mark.timeout(1200)
def test_a_small_one_is_trained_and_evaluated_along_the_line(tmp_path: Path) -> None:
    trained = full_size.train(tmp_path, full_size.QUICK, minutes=10)
    again = full_size.train(tmp_path, full_size.QUICK, minutes=10)
    assert trained["steps"] == again["steps"] == again["wanted"] == 2
    assert again["minutes"] > trained["minutes"]
    found = full_size.answers(tmp_path, "cpu")["ap"]
    assert set(found) == {full_size.PYTORCH, full_size.FLOAT, full_size.INT8}
    for side, ap in found.items():
        assert set(ap) == {"box", "mask"}
        assert all(-1 <= value <= 1 for value in ap.values()), side
