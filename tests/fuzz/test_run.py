"""Every target finds nothing in a short run, and the runner finds what is there."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz import oracle
from fuzz.made.faulty import INPUTS, LONGEST
from fuzz.report import Result, table
from fuzz.run import BUILD, CORPUS, Budget, available, fuzz
from fuzz.targets import TARGETS, Target, named

FAULTY = Target("made.faulty", 100, 100)


@pytest.mark.parametrize(
    "target", [pytest.param(each, id=each.name, marks=[pytest.mark.long] if each.is_long else []) for each in TARGETS]
)
def test_a_target_finds_nothing(target: Target, tmp_path: Path) -> None:
    if not available(target):
        pytest.skip(f"{target.name}: no {BUILD / str(target.program)}; `make fuzzers` builds it where clang++ is")
    found = fuzz(target, Budget(runs=target.short).portions(target), tmp_path)
    assert not found.findings, found.findings
    assert found.executions >= target.short


def test_the_same_seed_gives_the_same_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = []
    for name, seed in (("first", 3), ("second", 3), ("other", 4)):
        monkeypatch.setenv(INPUTS, str(tmp_path / name))
        assert not fuzz(FAULTY, Budget(runs=100, seed=seed).portions(FAULTY), tmp_path).findings
        noted.append((tmp_path / name).read_text())
    assert noted[0] == noted[1]
    assert noted[0] != noted[2]


def test_a_finding_is_kept_and_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INPUTS, str(tmp_path / "inputs"))
    monkeypatch.setenv(LONGEST, "100")
    found = fuzz(FAULTY, Budget(runs=100).portions(FAULTY), tmp_path)
    (text,) = found.findings
    assert text.startswith("AssertionError: a fault that was put there; repeat: make fuzz TARGET=made.faulty INPUT=")
    kept = Path(text.rpartition("INPUT=")[2])
    assert len(kept.read_bytes()) > 100
    assert fuzz(FAULTY, [[str(kept)]], tmp_path).findings
    monkeypatch.setenv(LONGEST, "100000")
    assert not fuzz(FAULTY, [[str(kept)]], tmp_path).findings


def test_many_executions_are_those_of_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each begins with what the ones before found worth keeping."""
    monkeypatch.setattr("fuzz.run.PORTION_RUNS", 400)
    (target,) = named("masks.decode")
    portions = Budget(runs=900, seed=7).portions(target)
    assert portions == [["-runs=400", "-seed=7"], ["-runs=400", "-seed=8"], ["-runs=100", "-seed=9"]]
    found = fuzz(target, portions, tmp_path)
    assert not found.findings
    assert found.executions >= 900
    logs = [(tmp_path / target.name / f"log_{number}.txt").read_text() for number in range(3)]
    begun_with = [int(re.findall(rf"INFO: +(\d+) files found in \S+{CORPUS}", log)[0]) for log in logs]
    assert begun_with[0] == 0 < begun_with[1] <= begun_with[2]


def test_a_target_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"^target: got 'none', expected one of files\.images, "):
        named("none")


def test_the_command_prints_the_table_and_writes_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fuzz.run", "files.config", "--runs", "20", "--out", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "files.config" in done.stdout
    assert (tmp_path / "fuzz.json").is_file()


def test_the_table_has_a_line_a_target() -> None:
    lines = table([Result("a", 10, 2.0, 5, ()), Result("b", 1, 1.0, 5, ("wrong",))]).splitlines()
    assert [line.split() for line in lines[1:]] == [["a", "10", "5", "2.0", "0"], ["b", "1", "1", "1.0", "1"]]


def caught() -> None:
    """A process whose error is caught where it is started."""
    with contextlib.suppress(OSError):
        subprocess.run(["/none"], check=False)


class TestOracle:
    """What the oracle must not let pass; it watches this process from here on, within `judged` alone."""

    @classmethod
    def setup_class(cls) -> None:
        oracle.watch()

    def test_writing_a_file_is_seen(self, tmp_path: Path) -> None:
        with pytest.raises(AssertionError, match=r"what is forbidden: .*opened"), oracle.judged(ValueError):
            (tmp_path / "new").write_text("x")

    def test_a_process_is_seen_though_its_error_is_caught(self) -> None:
        with pytest.raises(AssertionError, match="what is forbidden"), oracle.judged(OSError):
            caught()

    def test_reading_a_file_is_allowed(self) -> None:
        with oracle.judged():
            assert Path(__file__).read_text()

    def test_an_error_that_is_not_documented_goes_on(self) -> None:
        with pytest.raises(KeyError), oracle.judged(ValueError):
            raise KeyError("x")

    def test_a_subclass_is_not_what_was_documented(self) -> None:
        with pytest.raises(UnicodeDecodeError), oracle.judged(ValueError):
            b"\xff".decode()

    @pytest.mark.parametrize("text", ["", " ", "a\nb", "a\rb", "x" * 3000])
    def test_a_refusal_is_one_line(self, text: str) -> None:
        with pytest.raises(AssertionError, match="a refusal"), oracle.judged(ValueError):
            raise ValueError(text)

    def test_a_good_refusal_is_the_end_of_it(self) -> None:
        with oracle.judged(ValueError):
            raise ValueError("side: got 0, expected 1 or more")
