"""The demo's steps: run once, reused while nothing they depend on changes, run again when something does."""

import sys
from pathlib import Path

import pytest
from demo_steps import Runner, Step, StepError


def append_step(name: str, folder: Path, source: Path) -> Step:
    """A step that leaves a line in `runs` each time it really runs."""
    code = f"import pathlib; p = pathlib.Path(r'{folder}')\n"
    code += f"(p / '{name}.out').write_text('done'); f = open(p / 'runs', 'a'); f.write('{name}\\n')"
    return Step(name, name, (sys.executable, "-c", code), folder / f"{name}.out", (source,))


def runs(folder: Path) -> list[str]:
    return (folder / "runs").read_text().split()


def test_a_second_run_reuses_everything(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("one")
    steps = [append_step("first", tmp_path, source), append_step("second", tmp_path, source)]
    for _ in range(2):
        runner = Runner(tmp_path)
        for step in steps:
            runner.run(step)
    assert runs(tmp_path) == ["first", "second"]
    assert Runner(tmp_path).all_done(steps)


def test_a_changed_source_runs_the_step_and_all_that_follow(tmp_path: Path) -> None:
    source, other = tmp_path / "source", tmp_path / "other"
    source.write_text("one")
    other.write_text("one")
    steps = [
        append_step("a", tmp_path, other),
        append_step("b", tmp_path, source),
        append_step("c", tmp_path, other),
    ]
    runner = Runner(tmp_path)
    for step in steps:
        runner.run(step)
    source.write_text("two")
    runner = Runner(tmp_path)
    assert not runner.all_done(steps)
    for step in steps:
        runner.run(step)
    assert runs(tmp_path) == ["a", "b", "c", "b", "c"]


def test_a_removed_output_is_made_again(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("one")
    step = append_step("a", tmp_path, source)
    Runner(tmp_path).run(step)
    step.output.unlink()
    Runner(tmp_path).run(step)
    assert runs(tmp_path) == ["a", "a"]


def test_a_failed_step_says_so_and_is_not_reused(tmp_path: Path) -> None:
    step = Step("bad", "Fail", (sys.executable, "-c", "raise SystemExit(3)"), tmp_path / "never")
    with pytest.raises(StepError, match="status 3"):
        Runner(tmp_path).run(step)
    assert not Runner(tmp_path).all_done([step])
