"""The frame of a script of this folder: options, the machine, the JSON file."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer
from rich.console import Console

from maskline_bench.device_ops.timing import describe as describe_gpu
from maskline_bench.errors import BenchmarkError, in_one_line
from maskline_bench.made_model import MadeModel, made_model
from maskline_bench.measure import describe
from maskline_bench.result_file import write_json

Device = Literal["cpu", "cuda"]
Measure = Callable[[MadeModel, Device], Mapping[str, Any]]
MADE = Path("out/made")
_SERVE = Path(sys.executable).with_name("maskline-serve")
_THREADS = 2  # of torch and ONNX Runtime on the CPU


def head(device: Device) -> dict[str, Any]:
    """Date, machine, versions.

    Raises:
        BenchmarkError: a GPU is asked for, and none is here.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise BenchmarkError("got no GPU, expected one; nothing was run")
    torch.set_num_threads(_THREADS)
    found = {**describe(_THREADS), "device": device}
    return {**found, "gpu": describe_gpu()} if device == "cuda" else found


def run_task(command: str, measure: Measure) -> None:
    """The command line of one script: what it measures goes into a JSON file behind date, machine and versions.

    Args:
        command: the script's name, which its errors begin with.
        measure: gets the made model and the device.
    """

    def main(
        json_file: Annotated[Path, typer.Option("--json", help="The file to write.")],
        device: Annotated[Device, typer.Option(help="Where the stages run.")] = "cuda",
        quick: Annotated[
            bool, typer.Option("--quick", help="A tiny network: shows only that the script runs.")
        ] = False,
        made: Annotated[Path, typer.Option(help="Folder of the made weights, kept for the next run.")] = MADE,
    ) -> None:
        console = Console(stderr=True)
        with in_one_line(command), console.status(command) as status:
            first = head(device)
            found = measure(made_model(made, "quick" if quick else "full", status.update), device)
        write_json(json_file, {**first, "quick": quick, **found})

    main.__doc__ = f"{(sys.modules['__main__'].__doc__ or command).splitlines()[0]}"
    typer.run(main)


def served_artifact(made: MadeModel, device: Device) -> Path:
    """What a server of this device is given: float16 on a GPU."""
    return made.half() if device == "cuda" else made.artifact()


def assembled(made: MadeModel, device: Device, folder: Path, *options: str) -> Path:
    """A repository of it, by the command that users have, with further options; returns its folder.

    Raises:
        BenchmarkError: the command refuses.
    """
    target = {"cpu": "cpu", "cuda": "onnxruntime-gpu"}[device]
    repository = folder / "repository"
    call([str(_SERVE), "assemble", str(served_artifact(made, device)), str(repository), "--target", target, *options])
    return repository


def call(command: list[str]) -> str:
    """Run a command and return what it printed.

    Raises:
        BenchmarkError: it failed; the text has its last line.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise BenchmarkError(f"{' '.join(command)}: exit status {done.returncode}: {lines[-1] if lines else 'no text'}")
    return done.stdout


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder that is gone afterwards."""
    return tempfile.TemporaryDirectory(prefix="maskline-owed-")
