"""Fuzzes the targets one after the other, each in a process of its own, and prints what came of it.

A target is code that reads what others wrote, and an oracle (`oracle.py`). The engine is libFuzzer, with the coverage
of Python code by atheris and of C++ by clang; the same seed and number of executions give the same inputs. A finding's
input is kept, with the command that repeats it; the status is 1 where there is one.

Run: make fuzz TARGET=files SECONDS=60, or PYTHONPATH=tests python -m fuzz.run masks.decode --runs 100000 --seed 3
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from fuzz.report import Result, added_up, read_result, table
from fuzz.targets import TARGETS, Target, named

ROOT = Path(__file__).parents[2]
BUILD = Path(os.environ.get("MASKLINE_FUZZ_BUILD", ROOT / "build" / "fuzz"))  # of the native targets
# An execution takes milliseconds; on a loaded machine not a thousand times that.
HANGS_AFTER_S = 60
# Of one process in Python. atheris keeps some KB of memory for each comparison of arrays that it watches, in a million
# executions more than there is: the code that is fuzzed was seen to keep nothing, without atheris.
PORTION_RUNS, PORTION_S = 25_000, 60
MEMORY_MIB = 4096  # of a process; what one execution may ask for is `oracle.MEMORY_BYTES`
# Bytes of an input: choices of edits, not the file itself. The first inputs stay, or a target whose own code has few
# branches is left with one short input, and so with few edits.
ENGINE = ("-max_len=512", "-len_control=0", "-reduce_inputs=0", "-keep_seed=1", "-print_final_stats=1")
CORPUS = "corpus"
SANITIZERS = {
    "ASAN_OPTIONS": "abort_on_error=1:allocator_may_return_null=0:detect_leaks=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}


@dataclasses.dataclass(frozen=True)
class Budget:
    """How long each target runs: so many executions, or so many seconds where those are given."""

    runs: int | None = None
    seconds: int | None = None
    seed: int = 1

    def portions(self, target: Target) -> list[list[str]]:
        """Options of libFuzzer for each process of a target, one after the other."""
        if self.seconds is not None and self.runs is None:
            limit, whole, largest = "max_total_time", self.seconds, PORTION_S
        else:
            limit, whole, largest = "runs", self.runs or target.runs, PORTION_RUNS
        sizes = [whole]
        if target.program is None:
            sizes = [min(largest, whole - begun) for begun in range(0, whole, largest)]
        return [[f"-{limit}={size}", f"-seed={self.seed + number}"] for number, size in enumerate(sizes)]


def available(target: Target) -> bool:
    """Whether a target can be run: a native one has to be built."""
    return target.program is None or (BUILD / target.program).is_file()


def fuzz(target: Target, portions: Sequence[Sequence[str]], out: Path, show: bool = False) -> Result:
    """Run one target, until something is found.

    Args:
        target: which.
        portions: for each process libFuzzer's options: of a budget, or a file to repeat. What one of them found worth
            keeping, the next one begins with.
        out: folder for the inputs of findings and the logs.
        show: print what libFuzzer says while it runs.
    """
    place = out / target.name
    shutil.rmtree(place / CORPUS, ignore_errors=True)
    (place / CORPUS).mkdir(parents=True)
    results: list[Result] = []
    with server_of(target) as (own, complaints):
        environment = {**os.environ, **SANITIZERS, **own, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        environment |= {"PYTHONPATH": str(ROOT / "tests"), "OMP_NUM_THREADS": "1"}
        for number, options in enumerate(portions):
            begun = sum(result.executions for result in results)
            log = place / f"log_{number}.txt"
            results.append(_process(target, options, log, environment, show=begun if show else None))
            if results[-1].findings:
                break
    return added_up(results, complaints)


def _process(
    target: Target, options: Sequence[str], log: Path, environment: dict[str, str], show: int | None
) -> Result:
    """One process of a target; `show`: how many executions there were before, or None to print nothing."""
    engine = [*ENGINE, f"-timeout={HANGS_AFTER_S}", f"-rss_limit_mb={MEMORY_MIB}", f"-artifact_prefix={log.parent}/"]
    program = [str(BUILD / target.program)] if target.program else [sys.executable, "-m", "fuzz.one", target.name]
    kept = [] if any(Path(option).is_file() for option in options) else [str(log.parent / CORPUS)]
    start = time.monotonic()
    with log.open("w") as file:
        process = subprocess.Popen([*program, *engine, *options, *kept], env=environment, stdout=file, stderr=file)
        try:
            while process.poll() is None:
                time.sleep(0.2)
                if show is not None:
                    progress(target, log, show)
        finally:
            process.kill()
            process.wait()
    return read_result(target.name, log, process.returncode, time.monotonic() - start)


@contextlib.contextmanager
def server_of(target: Target) -> Iterator[tuple[dict[str, str], list[str]]]:
    """The server that a target calls: the environment that says where, and, afterwards, what is wrong with it."""
    complaints: list[str] = []
    if not target.has_server:
        yield {}, complaints
        return
    from fuzz.wire.served import served  # the other targets need no server

    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        own = stack.enter_context(served(Path(place)))
        yield own, complaints
        try:
            stack.close()
        except Exception as error:  # whatever a damaged server does to its client
            complaints.append(f"{type(error).__name__}: {error}")


def progress(target: Target, log: Path, begun: int) -> None:
    """How many executions there were, as libFuzzer told last, on one line of the terminal."""
    told = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("#")]
    if told and sys.stderr.isatty():
        executions = begun + int(told[-1].split()[0][1:])
        print(f"\r{target.name}: {executions} executions", end="", file=sys.stderr, flush=True)  # noqa: T201


def main(
    targets: Annotated[list[str] | None, typer.Argument(help="Names or groups; all where none is given.")] = None,
    seconds: Annotated[int | None, typer.Option(min=1, help="Seconds a target, instead of executions.")] = None,
    runs: Annotated[int | None, typer.Option(min=1, help="Executions a target; default: each target's own.")] = None,
    seed: Annotated[int, typer.Option(min=1, help="The same seed and executions give the same inputs.")] = 1,
    repeat: Annotated[Path | None, typer.Option(help="An input that was kept, for one target.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of logs, kept inputs and fuzz.json.")] = Path("out/fuzz"),
) -> None:
    """Fuzz, print a table and write it as JSON; status 1 where something was found.

    Example: python -m fuzz.run masks.decode --runs 100000 --seed 3
    """
    try:
        chosen = [target for name in targets for target in named(name)] if targets else list(TARGETS)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    results: list[Result] = []
    budget = Budget(runs, seconds, seed)
    with contextlib.suppress(KeyboardInterrupt):  # the table so far is printed below
        for number, target in enumerate(chosen, start=1):
            if not available(target):
                print(f"{target.name}: not built, left out; `make fuzz` builds it where clang++ is")  # noqa: T201
                continue
            print(f"{number}/{len(chosen)} {target.name}", file=sys.stderr, flush=True)  # noqa: T201
            portions = [[str(repeat)]] if repeat else budget.portions(target)
            results.append(fuzz(target, portions, out, show=True))
            for line in results[-1].findings:
                print(f"\n{target.name}: FOUND {line}", file=sys.stderr, flush=True)  # noqa: T201
    print(table(results))  # noqa: T201
    out.mkdir(parents=True, exist_ok=True)
    rows = [dataclasses.asdict(result) for result in results]
    (out / "fuzz.json").write_text(json.dumps({"seed": seed, "results": rows}, indent=2) + "\n")
    left_out = len(results) < len(chosen)
    if left_out:
        print(f"{len(chosen) - len(results)} targets of {len(chosen)} were not run")  # noqa: T201
    sys.exit(1 if any(result.findings for result in results) else 0)


if __name__ == "__main__":
    typer.run(main)
