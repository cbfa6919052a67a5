"""A network of full size, trained on made pictures of its size, and its AP in PyTorch, float32, float16 and int8.

In parts, as a machine may be lent for minutes at a time: `train` goes on where the part before it stopped, `answers`
evaluates what was trained.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from maskline_serve.server.triton_server import TritonServer
from rich.console import Console

from maskline_bench.errors import BenchmarkError, in_one_line
from maskline_bench.owed.task import Device, call, head, scratch
from maskline_bench.result_file import read_json, write_json

PLACE = Path("out/full_size")
PYTORCH, FLOAT, HALF, INT8 = "PyTorch", "served, float32, CPU", "served, float16", "served, int8, CPU"
KINDS = ("box", "mask")
_BIN = Path(sys.executable).parent
_STOPPED = 128 + signal.SIGTERM
_PRODUCTS = ("artifact", "half", "int8")
_LAST_STEP_S = 120.0  # for the step under way and the checkpoint


@dataclasses.dataclass(frozen=True)
class Size:
    """Of data and training.

    Attributes:
        recipe: what is trained.
        scale: of the pictures.
        train: pictures to learn from.
        val: pictures to evaluate on.
        fit: more options of `fit`.
    """

    recipe: str = "digits_full_size"
    scale: int = 4
    train: int = 1000
    val: int = 100
    fit: tuple[str, ...] = ()


QUICK = Size("digits_demo", 1, 8, 2, ("--steps", "2", "--total-batch", "2"))


def train(place: Path, size: Size, minutes: float) -> dict[str, Any]:
    """Go on training for so many minutes at most; steps done, steps wanted and the minutes of all parts.

    Raises:
        BenchmarkError: training failed.
    """
    for made in (*(place / name for name in _PRODUCTS), *place.glob("repository-*")):
        shutil.rmtree(made, ignore_errors=True)  # of weights that will be others
    if not (place / "data").exists():
        counts = ("--train-images", str(size.train), "--val-images", str(size.val), "--scale", str(size.scale))
        _call("train", "data", "digits", place / "data", *counts)
    started = time.perf_counter()
    _fit([place / "data", "--out", place / "run", "--resume", *size.fit], size.recipe, 60 * minutes)
    spent = read_json(place / "spent.json") if (place / "spent.json").exists() else {"minutes": 0.0}
    spent = {"minutes": spent["minutes"] + (time.perf_counter() - started) / 60}
    write_json(place / "spent.json", spent)
    wanted = read_json(place / "run" / "recipe.json")["training"]["steps"]
    return {"steps": _steps(place / "run"), "wanted": wanted, **spent}


def _fit(arguments: list[Any], recipe: str, seconds: float) -> None:
    """Run `fit`, and end it by the signal that lets it write a checkpoint."""
    command = [str(_BIN / "maskline-train"), "fit", recipe, "--data", *map(str, arguments)]
    child = subprocess.Popen(command)
    status: int | None = None
    try:
        status = child.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=_LAST_STEP_S)
        status = child.poll()  # None: it goes on
    finally:
        child.kill()
    if status not in (0, _STOPPED):
        raise BenchmarkError(f"{' '.join(command)}: exit status {status}, expected 0 or {_STOPPED}")


def _steps(run: Path) -> int:
    """Steps that are in the checkpoint."""
    return int((run / "last").resolve().name.removeprefix("step-"))


def answers(place: Path, device: Device) -> dict[str, Any]:
    """AP of what was trained, along the line.

    Raises:
        BenchmarkError: training is not at its end, or a command failed.
    """
    steps, wanted = _steps(place / "run"), read_json(place / "run" / "recipe.json")["training"]["steps"]
    if steps < wanted:
        raise BenchmarkError(f"{place / 'run'}: got {steps} of {wanted} steps; run --part train again")
    data, artifact = place / "data", place / "artifact"
    found = {PYTORCH: _evaluated("train", place / "run" / "last", "--data", data)}
    for made, command in (
        (artifact, ("onnx", place / "run" / "last")),
        (place / "half", ("typed", artifact)),
        (place / "int8", ("quantize", artifact)),
    ):
        more = {"half": ("--precision", "fp16"), "int8": ("--calibration", data / "train", "--allow-slower")}
        if not made.exists():
            _call("export", *command, made, *more.get(made.name, ()))
    found[FLOAT] = _served(place, artifact, "cpu", data)
    found[INT8] = _served(place, place / "int8", "cpu", data)
    if device == "cuda":  # ONNX Runtime has no float16 convolutions for a CPU
        found[HALF] = _served(place, place / "half", "onnxruntime-gpu", data)
    return {"steps": steps, **read_json(place / "spent.json"), "ap": found}


def _served(place: Path, artifact: Path, target: str, data: Path) -> dict[str, float]:
    repository = place / f"repository-{artifact.name}"
    if not repository.exists():
        _call("serve", "assemble", artifact, repository, "--target", target)
    with TritonServer(repository) as server:
        return _evaluated("client", "--url", server.grpc_url, "--data", data)


def _evaluated(program: str, *arguments: Any) -> dict[str, float]:
    """AP of boxes and masks, 0..1, as `evaluate` of a command of ours finds it."""
    with scratch() as folder:
        file = Path(folder) / "ap.json"
        _call(program, "evaluate", *arguments, "--json", file)
        result = read_json(file)
    return {kind: float(result[kind]["AP"]) for kind in KINDS}


def _call(program: str, *arguments: Any) -> None:
    call([str(_BIN / f"maskline-{program}"), *map(str, arguments)])


def main(
    json_file: Annotated[Path, typer.Option("--json", help="The file to write.")],
    part: Annotated[Literal["train", "answers", "all"], typer.Option(help="What is done; all: both.")] = "all",
    device: Annotated[Device, typer.Option(help="What it is trained and served on.")] = "cuda",
    minutes: Annotated[float, typer.Option(min=0, help="Of training in this part.")] = 6.0,
    quick: Annotated[bool, typer.Option("--quick", help="A small network, two steps: it runs.")] = False,
    place: Annotated[Path, typer.Option(help="Folder of data, run and repositories, kept for the next part.")] = PLACE,
) -> None:
    """Train a network of full size in parts, and evaluate it along the line.

    Example: python -m maskline_bench.full_size --part train --json out/full_size.json
    """
    with in_one_line("full_size"), Console(stderr=True).status("full_size"):
        result: dict[str, Any] = {**head(device), "quick": quick, "part": part}
        place = place / "quick" if quick else place
        if part != "answers":
            result |= train(place, QUICK if quick else Size(), minutes)
        if part != "train":
            result |= answers(place, device)
    write_json(json_file, result)


if __name__ == "__main__":
    typer.run(main)
