"""`make demo`: a Mask R-CNN trained, exported, served and called on this machine finds digits in photographs.

Runs the commands a user would type, in order, and writes OUT/report.html. Steps whose inputs did not change
are reused, so a second run is quick.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import typer
from demo_report import write_report
from demo_steps import Runner, Step, StepError, console
from maskline_serve.server.triton_server import TritonServer

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
BASE = ROOT / "demo" / "base"
TRAIN = ROOT / "train" / "maskline_train"
EXPORT = ROOT / "export" / "maskline_export"
SERVE = (ROOT / "triton_repo",)
CLIENT = ROOT / "client" / "maskline_client"
VAL_SPLIT = "val"


def offline_steps(out: Path) -> list[Step]:
    """From nothing to an assembled model repository."""
    data, training, artifact = out / "data", out / "training", out / "artifact"
    train, export, serve = (str(BIN / f"maskline-{name}") for name in ("train", "export", "serve"))
    checkpoint = str(training / "last")
    return [
        Step("data", "Make the digits set", (train, "data", "digits", str(data)), data, (TRAIN / "data",)),
        Step(
            "fit",
            "Fine-tune Mask R-CNN from the base checkpoint",
            (train, "fit", "digits_demo", "--data", str(data), "--out", str(training), "--init", str(BASE)),
            training,
            (TRAIN, BASE),
        ),
        Step(
            "evaluate",
            "Evaluate the checkpoint with PyTorch",
            (train, "evaluate", checkpoint, "--data", str(data), "--json", str(out / "ap_pytorch.json")),
            out / "ap_pytorch.json",
        ),
        Step("export", "Export to ONNX", (export, "onnx", checkpoint, str(artifact)), artifact, (EXPORT,)),
        Step(
            "verify",
            "Verify ONNX against PyTorch, stage by stage",
            (
                export,
                "verify",
                checkpoint,
                str(artifact),
                "--data",
                str(data),
                "--json",
                str(out / "parity.json"),
            ),
            out / "parity.json",
        ),
        Step(
            "assemble",
            "Assemble the Triton model repository",
            (serve, "assemble", str(artifact), str(out / "repository"), "--target", "cpu"),
            out / "repository",
            SERVE,
        ),
    ]


def served_steps(out: Path) -> list[Step]:
    """What needs the running server; `{url}` is its gRPC address."""
    client, data = str(BIN / "maskline-client"), out / "data"
    return [
        Step(
            "served",
            "Evaluate through the server",
            (
                client,
                "evaluate",
                "--url",
                "{url}",
                "--data",
                str(data),
                "--json",
                str(out / "ap_served.json"),
            ),
            out / "ap_served.json",
            (CLIENT,),
        ),
        Step(
            "bench",
            "Measure latency and throughput",
            (
                client,
                "bench",
                "--url",
                "{url}",
                "--images",
                str(data / VAL_SPLIT),
                "--out",
                str(out / "bench"),
            ),
            out / "bench",
        ),
        Step(
            "detect",
            "Detect on held-out scenes",
            (client, "detect", "--url", "{url}", str(data / "scenes"), "--out", str(out / "detections")),
            out / "detections",
        ),
    ]


def run(out: Path) -> Path:
    """Run what is not done yet and write the report; returns its path."""
    start = time.perf_counter()
    runner = Runner(out)
    for step in offline_steps(out):
        runner.run(step)
    run_served(runner, out)
    report = write_report(out, runner.seconds, BASE)
    console.rule(align="left")
    console.print(f"Finished in {time.perf_counter() - start:.0f} s. Open [bold]{report}[/]", soft_wrap=True)
    return report


def run_served(runner: Runner, out: Path) -> None:
    """Run the served steps; the server starts only when one of them is not done."""
    steps = served_steps(out)
    if runner.all_done(steps):
        for step in steps:
            runner.run(step)
        return
    console.rule("[bold]Start the Triton server", align="left")
    with TritonServer(out / "repository") as server:
        console.print(f"[green]✓[/] Triton serves gRPC at {server.grpc_url}")
        for step in steps:
            runner.run(step, url=server.grpc_url)


def main(out: Path = typer.Option(Path("out/demo"), help="Folder for everything the demo makes.")) -> None:
    """Run the whole line on this machine. Example: python demo/run_demo.py --out out/demo."""
    try:
        run(out)
    except StepError as error:
        console.print(f"[red]error:[/] {error}", soft_wrap=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        console.print("Stopped; finished steps are kept: run `make demo` again to go on.")
        raise typer.Exit(130) from None


if __name__ == "__main__":
    typer.run(main)
