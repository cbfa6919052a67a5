"""What the kinds of faults share: the stand-in's repository, servers that are gone afterwards, load that is checked."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from maskline_serve.repository.assemble import assemble
from serve import standin
from serve.conftest import arrays, image_input
from serve.test_server import COMMAND, assert_gone, wait_until
from support.serving.watched import PORTS, QUICK, Watched, own_line
from tritonclient import grpc as triton

BOUNDED_S = 120.0  # "in bounded time" for everything that has no limit of its own: two loaded cores
SIZE = (40, 60)  # multiples of 20: standin's masks are exact
LARGE = standin.picture(1, (2000, 3000))  # tens of milliseconds in `preprocess`
REFUSALS = ("UNAVAILABLE", "CANCELLED")  # what a caller may repeat


class Scene:
    """A folder of its own with the stand-in's artifact and repository.

    Attributes:
        folder: for whatever a kind writes.
        artifact, repository: never to be changed; `copy` gives one that may be.
    """

    def __init__(self, folder: Path, shared: Path) -> None:
        self.folder = folder
        self.artifact, self.repository = shared / "artifact", shared / "repository"

    @staticmethod
    def prepare(shared: Path) -> None:
        """Write what all scenes share."""
        assemble(standin.write_artifact(shared / "artifact"), shared / "repository")

    def copy(self) -> Path:
        """A repository that may be damaged."""
        return Path(shutil.copytree(self.repository, self.folder / "repository", symlinks=True))

    @contextlib.contextmanager
    def serving(
        self,
        *arguments: str,
        repository: Path | None = None,
        wrapper: Sequence[str] = (),
        environ: dict[str, str] | None = None,
    ) -> Iterator[Watched]:
        """A `run` that serves; at the end it is stopped where it still runs, and nothing of it may be left."""
        run = Watched(repository or self.repository, arguments, wrapper, environ)
        try:
            yield run
            if run.process.poll() is None:
                run.stop(BOUNDED_S)
            assert_gone(run.work_folder)
        finally:
            run.end()

    def refused(
        self,
        *arguments: str,
        repository: Path | None = None,
        wrapper: Sequence[str] = (),
        environ: dict[str, str] | None = None,
    ) -> str:
        """The one line of a `run` that has to end with status 1."""
        command = [*wrapper, *COMMAND, "run", str(repository or self.repository), *PORTS, *QUICK, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=2 * BOUNDED_S, check=False)
        assert done.returncode == 1, f"status {done.returncode}: {done.stderr[-600:]}"
        assert "Traceback" not in done.stderr, done.stderr[-600:]
        return own_line(done.stderr.splitlines())


def right(answer: dict[str, np.ndarray], slot: int, count: int, size: tuple[int, int] = SIZE) -> bool:
    """Whether an answer is what the stand-in gives for a picture of so many objects."""
    if answer["num_detections"][slot, 0] != count:
        return False
    boxes = np.abs(answer["boxes"][slot, :count] - standin.expected_boxes(count, size)) < 1e-3  # float32 px
    return bool(boxes.all()) and [len(rle) > 0 for rle in answer["mask_rle"][slot]] == [
        row < count for row in range(len(answer["mask_rle"][slot]))
    ]


def ask(client: triton.InferenceServerClient, count: int, deadline_s: float = BOUNDED_S) -> str:
    """`right`, `wrong`, or the status of the error: one picture of so many objects."""
    try:
        result = client.infer("maskrcnn", [image_input([standin.picture(count, SIZE)])], client_timeout=deadline_s)
    except triton.InferenceServerException as error:
        return str(error.status()).removeprefix("StatusCode.")
    return "right" if right(arrays(result), 0, count) else "wrong"


class Load:
    """Threads that call without a pause, each with a connection of its own; what came back is counted."""

    def __init__(self, url: str, threads: int = 4) -> None:
        self.outcomes: Counter[str] = Counter()
        self._url, self._over = url, threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(threads)]

    def _call(self, number: int) -> None:
        with triton.InferenceServerClient(self._url) as client:
            while not self._over.is_set():
                number = (number + 7) % 100
                outcome = ask(client, number)
                self.outcomes[outcome] += 1
                if outcome != "right":
                    time.sleep(0.05)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        self.until(50)
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def until(self, more: int) -> None:
        """Wait for so many more right answers."""
        aim = self.outcomes["right"] + more
        wait_until(lambda: self.outcomes["right"] >= aim, BOUNDED_S, f"{more} right answers")

    def only(self, *allowed: str) -> str:
        """The counts in words, once none is of another outcome than `right` and these."""
        assert self.outcomes.keys() <= {"right", *allowed}, dict(self.outcomes)
        return ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.outcomes.items()))


def in_namespace(kind: str, script: str) -> list[str]:
    """A wrapper: a namespace of its own (`--mount`, `--net`) in which a shell script runs before the command."""
    return ["unshare", *kind.split(), "sh", "-e", "-c", f'{script}; exec "$@"', "sh"]


def possible(*command: str) -> bool:
    """Whether a command works here."""
    try:
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    except OSError:
        return False
