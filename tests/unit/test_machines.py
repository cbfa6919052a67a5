"""The rule for limits, the recording of what tests measure, and the report of `make test-machines`."""

import json
import subprocess
import sys
from pathlib import Path

import margins as margins_module
import pytest
from machines.report import TOLERANCE, write_report
from machines.rule import Quantity, quantities
from machines.run import planned
from machines.settings import ALL, FEW
from margins import Margins

TESTS = Path(__file__).parents[1]


def quantity(values, side="below", limit=1.0, wrong=3.0, what="error, px"):
    return Quantity("test_a.py::test", what, side, limit, wrong, tuple(values))


def test_a_limit_is_three_deviations_from_the_mean():
    """0.5 and 0.7: mean 0.6, deviation 0.141, so 0.424 are wanted and 0.4 are there."""
    assert quantity([0.55, 0.65]).complaints() == []
    assert "got a margin of 0.4, expected 3 spreads of 0.141" in quantity([0.5, 0.7]).complaints()[0]
    assert quantity([0.5]).complaints() == []
    assert "got a margin of -0.5" in quantity([1.5]).complaints()[0]


def test_a_limit_is_at_most_a_third_of_what_the_wrong_model_shows():
    assert "at most a third of the wrong 2.9" in quantity([0.1], wrong=2.9).complaints()[0]
    assert quantity([0.1], wrong=None).complaints() == []


def test_a_gain_is_above_none_and_its_limit_below_it():
    """Deviation 0.141: the limit has to be 0.424 from 0 and from the mean."""
    assert quantity([1.0, 1.2], "above", limit=0.5, wrong=0.0).complaints() == []
    assert "spreads of 0.141 from 0" in quantity([1.0, 1.2], "above", limit=0.3, wrong=0.0).complaints()[0]
    assert "got a margin of 0.3" in quantity([1.0, 1.2], "above", limit=0.8, wrong=0.0).complaints()[0]
    assert quantity([1.0, 1.2], "above").worst == 1.0
    assert quantity([1.0, 1.2]).worst == 1.2


def test_measuring_asserts_and_records(tmp_path, monkeypatch):
    monkeypatch.setattr(margins_module, "_RECORD", str(tmp_path / "rows.jsonl"))
    measured = Margins("test_a.py::test")
    measured.below("error, px", 0.5, 1.0, wrong=3.0)
    with pytest.raises(AssertionError, match=r"error, px: got 1, expected less than 1"):
        measured.below("error, px", 1.0, 1.0)
    with pytest.raises(AssertionError, match=r"gain: got 0.1, expected more than 0.2"):
        measured.above("gain", 0.1, 0.2)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    error, gain = quantities(rows)
    assert (error.values, error.side, error.limit, error.wrong) == ((0.5, 1.0), "below", 1.0, None)
    assert (gain.values, gain.side, gain.wrong) == ((0.1,), "above", 0.0)


def test_the_recorder_finds_shares_of_tolerances_and_failures(tmp_path):
    (tmp_path / "test_it.py").write_text("""
import pathlib, numpy as np, pytest, torch
def test_shares():
    torch.testing.assert_close(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.5]), rtol=0, atol=1)
    assert torch.allclose(torch.tensor([10.0]), torch.tensor([8.0]), rtol=0.5, atol=0)
    assert not torch.allclose(torch.tensor([10.0]), torch.tensor([8.0]))
    np.testing.assert_allclose([3.0], [4.0], rtol=0, atol=10)
    assert 1.25 == pytest.approx(1.0, abs=0.5)
def test_fails(monkeypatch):
    monkeypatch.setattr(pathlib.Path, "open", None)
    assert torch.allclose(torch.tensor([10.0]), torch.tensor([8.0]))
""")
    rows = tmp_path / "rows.jsonl"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "machines.tolerances", "-c", "/dev/null", "--rootdir=."]
    environment = {"PYTHONPATH": str(TESTS), "MASKLINE_MARGINS": str(rows), "PATH": ""}
    done = subprocess.run(
        [*command, "test_it.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1, done.stdout + done.stderr
    found = [json.loads(line) for line in rows.read_text().splitlines()]
    shares = {row["what"].split(", ")[1].split(":")[0]: row["value"] for row in found if "what" in row}
    assert shares == {"assert_close": 0.5, "allclose": 0.5, "assert_allclose": 0.1, "approx": 0.5}
    assert [row["failed"] for row in found if "failed" in row] == ["test_it.py::test_fails"]


def test_the_report_names_what_breaks_the_rule_and_what_failed(tmp_path):
    (tmp_path / "benchmarks").mkdir()
    results = [{"key": "learns a/b/1 seed 0", "seconds": 3, "failed": ["test_a.py::test"], "rows": []}]
    about = {"processor": "P", "python": "3", "torch": "2", "numpy": "2"}
    complaints = write_report(tmp_path, about, results, [quantity([0.5, 0.7])])
    text = (tmp_path / "machines.md").read_text()
    assert complaints[0] == "learns a/b/1 seed 0: failed test_a.py::test"
    assert len(complaints) == 2
    assert all(complaint in text for complaint in complaints)
    assert "| test_a test | error, px | 2 | 0.6 | 0.14 | 0.7 | < 1 | 2.8 | 3 |" in text
    assert json.loads((tmp_path / "benchmarks" / "machines.json").read_text())["runs"] == results
    assert write_report(tmp_path, about, [], [quantity([0.5])]) == []
    assert "every limit keeps the rule" in (tmp_path / "machines.md").read_text()


def test_raw_rows_of_comparisons_that_use_little_of_their_tolerance_are_left_out(tmp_path):
    (tmp_path / "benchmarks").mkdir()
    rows = [{"test": "test_a.py::test", "what": f"line {i}, allclose: {TOLERANCE}", "value": i / 10} for i in (0, 5)]
    found = [quantity([row["value"]], what=row["what"]) for row in rows]
    result = {"key": "others a/b/1 seed 0", "seconds": 3, "failed": [], "rows": rows}
    about = {"processor": "P", "python": "3", "torch": "2", "numpy": "2"}
    write_report(tmp_path, about, [result], found)
    (kept,) = json.loads((tmp_path / "benchmarks" / "machines.json").read_text())["runs"]
    assert kept == {**result, "rows": rows[1:]}


def test_settings_and_seeds_are_all_planned_once():
    runs = planned(ALL, 3, ["learns", "others"])
    assert len({run.key for run in runs}) == len(runs) == 18 * 3 + 18
    assert set(FEW) < set(ALL)
    assert {setting.threads for setting in FEW} == {1, 2}
    assert len({(setting.capability, setting.isa) for setting in FEW}) == 4
