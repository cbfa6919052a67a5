"""A day of a server in half an hour: loads, sizes, bad images, clients that come and go, updates; nothing may grow.

Run: make soak MINUTES=30, or PYTHONPATH=tests python -m faults.soak --minutes 3 --json out/soak.json
"""

from __future__ import annotations

import functools
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from faults.memory import RULE, Sample, growth, has_grown, picture, sample
from faults.scene import BOUNDED_S, Scene, right
from maskline_client.bench.machine import describe_machine
from maskline_serve.repository.assemble import assemble
from serve import standin
from serve.conftest import arrays, image_input
from serve.test_server import COMMAND
from support.serving.watched import Watched
from tritonclient import grpc as triton

ROOT = Path(__file__).parents[2]
RESULTS, PICTURE = ROOT / "docs" / "benchmarks" / "faults" / "soak.json", ROOT / "docs" / "pictures" / "soak.svg"
# A model is replaced in turn by the other one; the first time early, so that warm-up has seen it.
FIRST_UPDATE_S, UPDATE_S = 10.0, 120.0
PHASE_S = 5.0  # as long as a client stays
SAMPLE_S = 2.0
LOADS = (1, 2, 8, 4, 12, 1)  # clients at a time, in turn
SIZES = ((40, 60), (60, 40), (200, 300), (480, 640), (1080, 1920), (20, 900))
BAD = (b"text", b"", standin.picture(3)[:60])


@functools.cache
def picture_of(count: int, size: tuple[int, int]) -> bytes:
    """A picture, made once: the clients are to wait for the server, not it for them."""
    return standin.picture(count, size)


class Clients:
    """Threads, each a client for one phase; what came back is counted."""

    def __init__(self, url: str) -> None:
        self.outcomes: Counter[str] = Counter()
        self.count = 0
        self._url, self._lock = url, threading.Lock()

    def phase(self, clients: int, seconds: float) -> None:
        """So many clients at once, for so long."""
        threads = [threading.Thread(target=self._call, args=(self.count + n, seconds)) for n in range(clients)]
        self.count += clients
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _call(self, seed: int, seconds: float) -> None:
        draw, end = random.Random(seed), time.monotonic() + seconds
        found: Counter[str] = Counter()
        with triton.InferenceServerClient(self._url) as client:
            while time.monotonic() < end:
                found[self._one(client, draw)] += 1
        with self._lock:
            self.outcomes += found

    @staticmethod
    def _one(client: triton.InferenceServerClient, draw: random.Random) -> str:
        """One request, in one of ten a bad one; `right`, `refused`, `wrong` or the status of an error."""
        is_bad, count, size = draw.random() < 0.1, draw.randrange(101), draw.choice(SIZES)
        file = draw.choice(BAD) if is_bad else picture_of(count, size)
        try:
            result = client.infer("maskrcnn", [image_input([file])], client_timeout=BOUNDED_S)
        except triton.InferenceServerException as error:
            status = str(error.status()).removeprefix("StatusCode.")
            return "refused" if is_bad and status == "INVALID_ARGUMENT" else status
        return "right" if not is_bad and right(arrays(result), 0, count, size) else "wrong"


def main(
    minutes: Annotated[float, typer.Option(min=1, help="How long.")] = 30.0,
    json_file: Annotated[Path, typer.Option("--json", help="Where the figures go.")] = RESULTS,
    svg: Annotated[Path, typer.Option(help="Where the picture of memory goes.")] = PICTURE,
) -> None:
    """Soak a server; status 1 when an answer was wrong or lost, or memory grew.

    Example: `make soak MINUTES=3`
    """
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder = Path(name)
        Scene.prepare(folder)
        found = soak(Scene(folder, folder), minutes, svg)
    json_file.parent.mkdir(parents=True, exist_ok=True)
    json_file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({key: found[key] for key in ("outcomes", "clients", "updates", "memory")}, indent=1))  # noqa: T201
    wrong = {name: count for name, count in found["outcomes"].items() if name not in ("right", "refused")}
    grown = [name for name, row in found["memory"].items() if has_grown(row)]
    if wrong or grown:
        print(f"not as expected: outcomes {wrong}, memory of {grown}", file=sys.stderr)  # noqa: T201
    sys.exit(1 if wrong or grown else 0)


def soak(scene: Scene, minutes: float, svg: Path) -> dict[str, Any]:
    """Load a server for so long; the figures."""
    samples: list[Sample] = []
    updated: list[str] = []
    other = standin.write_artifact(scene.folder / "other_artifact", best_score=0.89)
    assemble(other, scene.folder / "other")
    repositories = (scene.repository, scene.folder / "other")
    with scene.serving("--control", "explicit") as run:
        clients, start, shown = Clients(run.grpc), time.monotonic(), 0.0
        over = threading.Event()

        def watch() -> None:
            while not over.wait(SAMPLE_S):
                samples.append(sample(run, time.monotonic() - start))

        def replace() -> None:
            while not over.wait(UPDATE_S if updated else FIRST_UPDATE_S):
                updated.append(update(run, repositories[(len(updated) + 1) % 2]))

        threads = [threading.Thread(target=watch), threading.Thread(target=replace)]
        for thread in threads:
            thread.start()
        try:
            phase = 0
            while (now := time.monotonic() - start) < 60 * minutes:
                clients.phase(LOADS[phase % len(LOADS)], PHASE_S)
                phase += 1
                if now - shown > 30:
                    shown = now
                    print(f"{now / 60:.1f} of {minutes:g} min: {dict(clients.outcomes)}", flush=True)  # noqa: T201
        finally:
            over.set()
            for thread in threads:
                thread.join()
    assert not any(updated), f"an update failed: {[line for line in updated if line]}"
    svg.parent.mkdir(parents=True, exist_ok=True)
    svg.write_text(picture(samples), encoding="utf-8")
    return {
        "machine": describe_machine(),
        "date": date.today().isoformat(),
        "minutes": minutes,
        "outcomes": dict(sorted(clients.outcomes.items())),
        "clients": clients.count,
        "updates": len(updated),
        "rule": RULE,
        "memory": growth(samples),
        "samples": [{"seconds": round(one.seconds, 1), **one.mib} for one in samples],
    }


def update(run: Watched, repository: Path) -> str:
    """Replace the model while clients call; what went wrong, or nothing."""
    command = [*COMMAND, "update", str(repository), "--url", run.grpc]
    done = subprocess.run(command, capture_output=True, text=True, timeout=4 * BOUNDED_S, check=False)
    return done.stderr if done.returncode else ""


if __name__ == "__main__":
    typer.run(main)
