"""A user's way with our wheel, where there is no compiler and nothing of this checkout: `make test-wheel`.

Install into a clean environment, assemble, ask `doctor` which kernels run, serve, call. What runs there are the
commands as a user types them, in a folder of its own, with no variable of this shell.

Run: PYTHONPATH=tests python -m journey.wheel build/wheels
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import typer
from journey.clean import CleanEnvironment, JourneyError
from maskline_export.onnx_stages.to_onnx import export_model
from maskline_serve.repository.libraries import CUSTOM_OPS_PLACE, host_place
from maskline_serve.repository.on_disk import Repository
from serve import standin
from support.export.exported import decided_tiny_model

ROOT = Path(__file__).parents[2]
START_S = 120.0  # of the server, on two loaded cores
# What runs inside the clean environment; prints where the packages are.
WHERE = "import sys, maskline_client, maskline_host, maskline_serve as s; "
WHERE += "print(*sys.path, maskline_client.__file__, maskline_host.__file__, s.__file__, sep='\\n')"
CALL = """
import sys
from maskline_client import Detector
with Detector(sys.argv[1]) as detector:
    found = detector.detect("picture.png")
print(len(found.scores), "objects, masks", *found.masks().shape, "with", found.masks().sum(), "pixels")
"""


def main(wheels: Path) -> None:
    """The whole way.

    Raises:
        JourneyError: something was otherwise than a user may expect.
    """
    found = sorted(wheels.glob("maskline-*-manylinux_*.whl"))
    if len(found) != 1:
        raise JourneyError(f"{wheels}: got {len(found)} wheels for Linux, expected one; `make test-wheel` makes it")
    wheel = found[0]
    with tempfile.TemporaryDirectory(prefix="maskline-wheel-") as folder:
        away = Path(folder)
        say(f"exporting a tiny artifact, {wheel.name} has {wheel.stat().st_size / 2**20:.1f} MiB")
        export_model(decided_tiny_model(), "0" * 64, away / "artifact", "ort")
        (away / "picture.png").write_bytes(standin.picture(200))
        say("installing into a clean environment")
        clean = CleanEnvironment(away)
        clean.install(wheel, "serve", ROOT / "constraints.txt")
        check_that_it_is_clean(clean)
        say("assembling")
        clean.run("maskline-serve", "assemble", "artifact", "repository")
        check_doctor(clean)
        say("serving")
        with serving(clean) as url:
            say("calling")
            check_answer(clean, url)
            check_what_is_loaded(clean)
    say("done")


def say(what: str) -> None:
    """One line with the seconds since the start."""
    typer.echo(f"wheel: {time.monotonic() - STARTED:.0f} s: {what}")


def check_that_it_is_clean(clean: CleanEnvironment) -> None:
    """No compiler is found, and no package of this checkout."""
    for compiler in ("cc", "gcc", "g++", "clang", "ld", "nvcc", "make"):
        if found := shutil.which(compiler, path=clean.path):
            raise JourneyError(f"got {found}, expected no compiler on PATH")
    if str(ROOT) in (places := clean.run("python", "-c", WHERE)):
        raise JourneyError(f"got {places}, expected nothing of {ROOT}")


def check_doctor(clean: CleanEnvironment) -> None:
    """`doctor` names the wheel's libraries as what runs."""
    said = clean.run("maskline-serve", "doctor", "repository")
    rows = (
        rf"host library +ok +{clean.packages}/maskline_host/libmaskline_host\.so, (AVX-512|generic) kernels",
        rf"custom ops +ok +{clean.packages}/maskline_host/libmaskline_ort\.so",
        r"masks +ok +encoded by models/.*libmaskline_host\.so, a copy of the installed one",
        r"ops +ok +run by backends/onnxruntime/libmaskline_ort\.so, a copy of the installed one",
        r"stages +ok +run in the server's process by backends/onnxruntime/libtriton_onnxruntime\.so, a copy of the",
        r"onnxruntime +ok +onnxruntime \d",
    )
    for row in rows:
        found = re.search(f"^{row}.*$", said, re.MULTILINE)
        if found is None:
            raise JourneyError(f"doctor: got\n{said}\nexpected a row as {row}")
        typer.echo(found.group().rstrip())


@contextlib.contextmanager
def serving(clean: CleanEnvironment) -> Iterator[str]:
    """Within: `maskline-serve run` serves the repository, at the address that it says."""
    ports = ("--grpc-port", "0", "--http-port", "0", "--metrics-port", "0")
    log = clean.folder / "server.log"
    with log.open("w") as file:
        server = clean.start(file, "maskline-serve", "run", "repository", *ports)
        try:
            yield wait_for_address(server, log)
        finally:
            server.terminate()
            try:
                server.wait(60)
            except subprocess.TimeoutExpired:
                server.kill()
                raise JourneyError("got a server that runs 60 s after SIGTERM, expected its end") from None
    for use in ("libmaskline_host.so encodes masks", "ProposalNMS: run by libmaskline_ort.so"):
        if use not in log.read_text():
            raise JourneyError(f"got the log\n{log.read_text()}\nexpected a line with: {use}")


def wait_for_address(server: subprocess.Popen[str], log: Path) -> str:
    """The server's gRPC address, once it serves."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and server.poll() is None:
        if "Ctrl-C stops it" in (said := log.read_text()):
            return re.findall(r"^ +gRPC +(\S+)$", said, re.MULTILINE)[0]
        time.sleep(0.2)
    raise JourneyError(f"got the log\n{log.read_text()}\nexpected a server within {START_S:.0f} s")


def check_answer(clean: CleanEnvironment, url: str) -> None:
    """The command and the library of the client get objects with masks of the picture's size."""
    clean.run("maskline-client", "detect", "picture.png", "--out", "found", "--url", url, "--score-thresh", "0")
    said = clean.run("python", "-c", CALL, url).strip()
    typer.echo(said)
    if not re.fullmatch(r"([1-9]\d*) objects, masks \1 48 72 with [1-9]\d* pixels", said):
        raise JourneyError(f"got {said}, expected objects with masks of 48 72")


def check_what_is_loaded(clean: CleanEnvironment) -> None:
    """The server has the repository's libraries in memory, and none of ours from elsewhere."""
    loaded = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):  # ended meanwhile, or another user's
            text = maps.read_text()
            if f"{clean.folder}/" in text:
                loaded |= set(re.findall(r"/\S*libmaskline_\w+\.so", text))
    typer.echo(f"loaded by the server: {' '.join(sorted(loaded))}")
    repository = clean.folder / "repository"
    wanted = {str(repository / place) for place in (host_place(Repository.load(repository)), CUSTOM_OPS_PLACE)}
    if not wanted <= loaded or any(not name.startswith(f"{clean.folder}/") for name in loaded):
        raise JourneyError(f"got {sorted(loaded)}, expected {sorted(wanted)} and nothing outside {clean.folder}")


STARTED = time.monotonic()

if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]).resolve())
    except JourneyError as error:
        sys.exit(f"wheel: {error}")
