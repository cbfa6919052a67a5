"""Assemble a model repository, examine it, serve it with a real Triton server."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from maskline_command.console import results
from maskline_command.signals import Stopped
from maskline_command.version import version_option
from rich.console import Console
from rich.table import Table
from rich.text import Text

from maskline_serve import intact
from maskline_serve.doctor import Level, examine
from maskline_serve.errors import RepositoryError, ServeError
from maskline_serve.repository import names
from maskline_serve.repository.assemble import Target
from maskline_serve.repository.assemble import assemble as assemble_repository
from maskline_serve.repository.config import parse
from maskline_serve.repository.gpu.serving import Decode, cards_of
from maskline_serve.repository.libraries import slower
from maskline_serve.repository.on_disk import Repository
from maskline_serve.server.front_door.front_door import FrontDoor
from maskline_serve.server.front_door.tls import asked_for
from maskline_serve.server.live.command import update_server
from maskline_serve.server.several import load_together
from maskline_serve.server.triton_server import Control, TritonServer
from maskline_serve.server.watch.endpoint import answering
from maskline_serve.server.watch.keep import Watch, keep
from maskline_serve.server.watch.log_pump import pumping
from maskline_serve.server.watch.status import Status

FROM_TRITON = "triton | "

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, rich_markup_mode="markdown")


@app.callback()
def _common(
    version: Annotated[bool, version_option("maskline-serve")] = False,
) -> None:
    """What every command takes."""


RepositoryFolder = Annotated[Path, typer.Argument(metavar="REPO", help="An assembled model repository.")]
Port = typer.Option(min=0, max=65535, help="0 takes a free one.")


@app.command()
def assemble(
    artifact: Annotated[Path, typer.Argument(metavar="ARTIFACT", help="What `maskline-export onnx` wrote.")],
    repository: Annotated[Path, typer.Argument(metavar="REPO", help="Folder to write.")],
    target: Annotated[Target, typer.Option(help="What the repository is for.")] = Target.CPU,
    force: Annotated[bool, typer.Option("--force", help="Replace it even if it was changed by hand.")] = False,
    engines: Annotated[
        Path | None, typer.Option(help="What `maskline-export engine` wrote of ARTIFACT; for the target tensorrt.")
    ] = None,
    gpus: Annotated[
        str | None, typer.Option(metavar="N,N", help="Cards for the target onnxruntime-gpu; 0 if none are given.")
    ] = None,
    decode: Annotated[
        Decode, typer.Option(help="Where images are decoded and resized; device: for the target onnxruntime-gpu.")
    ] = Decode.HOST,
    name: Annotated[
        str,
        typer.Option(help="What clients ask for: the ensembles are NAME, NAME_raw, NAME_engines and NAME_boxes."),
    ] = names.DEFAULT,
) -> None:
    """Write a Triton model repository of an artifact.

    The target `onnxruntime-gpu` takes a float16 or float32 artifact with dense bodies. The target `tensorrt` adds the
    plugin libraries. Both add a launch file and a container build file.

    Example: `maskline-serve assemble out/artifact out/repository --target cpu --name nuclei`
    """
    out = results()
    changed = assemble_repository(artifact, repository, target, force, engines, cards_of(gpus), decode, name)
    made = Repository.load(repository)
    size_mib = sum((made.folder / name).stat().st_size for name in made.files) / 2**20
    out.print(
        f"{repository}: {made.title}, {len(list(made.models.iterdir()))} models, {made.answers}, "
        f"target {made.target}, {size_mib:.1f} MiB{'' if changed else ' (up to date, nothing written)'}",
        soft_wrap=True,
    )
    for text in slower(made):
        out.print(f"slower: {text}", soft_wrap=True)
    if made.engines:
        gpu = f"GPU of compute capability {made.engines['compute_capability']}"
        out.print(f"needs: TensorRT {made.engines['tensorrt']}, {gpu}", soft_wrap=True)
        out.print(
            f"Next: {repository}/launch.sh in Triton's container; {repository}/Containerfile makes one", soft_wrap=True
        )
    else:
        if made.gpu:
            cards = ", ".join(f"GPU {card}" for card in made.gpu["cards"])
            extras = "gpu" if decode is Decode.HOST else "gpu,decode"
            out.print(
                f"needs: {cards}; `maskline[{extras}]`, or Triton's container ({repository}/Containerfile)",
                soft_wrap=True,
            )
        out.print(f"Next: maskline-serve run {shlex.quote(str(repository))}", soft_wrap=True)


@app.command()
def run(
    repositories: Annotated[
        list[Path], typer.Argument(metavar="REPO...", help="Assembled model repositories, of different names.")
    ],
    grpc_port: Annotated[int, Port] = 8001,
    http_port: Annotated[int, Port] = 8000,
    metrics_port: Annotated[int, Port] = 8002,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    control: Annotated[
        Control, typer.Option(help="explicit: models can be replaced by `update`, and no request is lost on stop.")
    ] = Control.NONE,
    leave_s: Annotated[
        float, typer.Option(min=0, help="With --control explicit: seconds between not ready and no more requests.")
    ] = 0.0,
    http_host: Annotated[
        str | None, typer.Option(help="Address of HTTP and metrics, which have no TLS; loopback if not given.")
    ] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM file of the server's certificate.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of its key.")] = None,
    tls_ca: Annotated[
        Path | None, typer.Option(help="Mutual TLS: clients must show a certificate of these authorities.")
    ] = None,
    tls_own_certificate: Annotated[
        Path | None, typer.Option(help="What our own test image shows then, if not --tls-certificate.")
    ] = None,
    tls_own_key: Annotated[Path | None, typer.Option(help="PEM file of its key.")] = None,
    shared_memory: Annotated[
        bool, typer.Option("--shared-memory", help="Take tensors in memory that clients here share with the server.")
    ] = False,
    drain_s: Annotated[int, typer.Option(min=0, help="Seconds that requests in flight get on stop.")] = 30,
    timeout_s: Annotated[float, typer.Option(min=1, help="Seconds that the start may take.")] = 180.0,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start a dead server again; else end with status 1.")
    ] = False,
    canary_s: Annotated[float, typer.Option(min=0.5, help="Seconds between canary images.")] = 5.0,
    canary_deadline_s: Annotated[float, typer.Option(min=0.5, help="Seconds that a canary image may take.")] = 30.0,
    health_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Answer /health and /metrics there; 0 takes a free one.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the server's whole log.")] = False,
) -> None:
    """Serve one or more repositories until Ctrl-C or SIGTERM, or until the server is dead.

    Example: `maskline-serve run out/repository --control explicit --restart --health-port 8003`
    """
    served = load_together(repositories)
    for one in served:
        if one.engines:
            raise RepositoryError(
                f"{one.folder}: got target tensorrt, which the local server cannot serve; run {one.folder}/launch.sh "
                "in Triton's container, or assemble for the target cpu"
            )
    if leave_s and control is not Control.EXPLICIT:
        raise typer.BadParameter("only a server under `--control explicit` can say that it is leaving")
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    tls = asked_for(tls_certificate, tls_key, tls_ca, tls_own_certificate, tls_own_key)
    status = Status()
    try:
        with pumping(lambda line: console.print(line, style=_style(line), soft_wrap=True)) as say:
            for line in (line for one in served for line in intact.check(one)):
                say(f"warning: {line}")
            server = TritonServer(
                *repositories,
                front_door=FrontDoor(host, http_host, tls, shared_memory),
                grpc_port=grpc_port,
                http_port=http_port,
                metrics_port=metrics_port,
                timeout_s=timeout_s,
                drain_s=drain_s,
                show=lambda line: say(f"{FROM_TRITON}{line}"),
                verbose=verbose,
                control=control,
                leave_s=leave_s,
            )
            named = ", ".join(map(str, repositories))
            say(f"starting tritonserver ({server.installation.origin}) with {named}")
            for line in server.front_door.warnings():
                say(f"warning: {line}; docs/security.md")
            with answering(server.front_door.plain_host, health_port, status) as health_url, server:
                _announce(server, health_url)
                keep(server, Watch(canary_s, canary_deadline_s, restart), status, say)
    except Stopped:
        console.print("stopped")


def _style(line: str) -> str:
    """Triton's own lines are dimmer than ours."""
    return "dim" if line.startswith(FROM_TRITON) else ""


@app.command()
def update(
    repository: RepositoryFolder,
    url: Annotated[str, typer.Option(help="host:port of the server's gRPC endpoint.")] = "127.0.0.1:8001",
    drain_s: Annotated[float, typer.Option(min=0, help="Seconds that requests of the old version get.")] = 60.0,
    timeout_s: Annotated[float, typer.Option(min=1, help="Seconds that loading a model may take.")] = 600.0,
    tls_own_certificate: Annotated[
        Path | None, typer.Option(help="What our calls show a server of mutual TLS, if not its own certificate.")
    ] = None,
    tls_own_key: Annotated[Path | None, typer.Option(help="PEM file of its key.")] = None,
) -> None:
    """Replace a model in a running server, under load: no request is lost, none is answered by two versions.

    The new version is loaded beside the old one and has to answer a canary image before it gets a request. A repository
    of a name that the server does not have yet is added to it.

    Example: `maskline-serve update out/repository-2 --url 127.0.0.1:8001`
    """
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    done = update_server(
        Repository.load(repository),
        url,
        timeout_s,
        drain_s,
        lambda text: console.print(text, soft_wrap=True),
        tls_own_certificate,
        tls_own_key,
    )
    results().print(done, soft_wrap=True)


@app.command()
def doctor(repository: RepositoryFolder) -> None:
    """Examine a repository and the machine that is to serve it; exit status 1 when something is wrong.

    Example: `maskline-serve doctor out/repository`
    """
    findings = examine(repository)
    table = Table("check", "", "detail", box=None, pad_edge=False)
    styles = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "bold red"}
    for finding in findings:
        table.add_row(finding.check, Text(finding.level, styles[finding.level]), finding.detail)
    results().print(table)
    errors = sum(finding.level is Level.ERROR for finding in findings)
    if errors:
        raise ServeError(f"{repository}: {errors} of {len(findings)} checks failed")


def _announce(server: TritonServer, health_url: str | None) -> None:
    """Print the models and where to reach them."""
    table = Table(box=None, pad_edge=False)
    for column in ("model", "backend", "instances", "batch"):
        table.add_column(column, no_wrap=True)
    table.add_column("what a client sends and gets")
    paths = [path for one in server.repositories for path in sorted(one.models.glob("*/config.pbtxt"))]
    for path in paths:
        config = parse(path.read_text(encoding="utf-8"), path)
        instances = sum(group.count for group in config.instance_group)
        wire = [", ".join(tensor.name for tensor in side) for side in (config.input, config.output)]
        table.add_row(
            names.word_of(config.name),
            config.backend or config.platform,
            str(instances or ""),
            str(config.max_batch_size),
            " -> ".join(wire) if config.platform == "ensemble" else "",
        )
    out = results()
    out.print(table)
    served = ", ".join(f"{one.folder}: {one.title}" for one in server.repositories)
    images = "the canary image" if len(server.repositories) == 1 else "the canary image of each"
    serves = f"tritonserver {server.version} serves {served}; {images} came back right"
    places = f"  gRPC    {server.grpc_url}\n  HTTP    {server.http_url}\n  metrics {server.metrics_url}/metrics"
    if health_url is not None:
        places += f"\n  health  {health_url}/health, /metrics"
    out.print(f"{serves}\n{places}", soft_wrap=True)
    if server.live is not None:
        out.print(f"`maskline-serve update REPO --url {server.grpc_url}` replaces a model while it answers")
    out.print("Ctrl-C stops it")
