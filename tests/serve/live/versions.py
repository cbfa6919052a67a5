"""Versions of the stand-in that a test can tell apart by every answer, and clients that call while they change."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import onnx.helper
from maskline_client import Detector
from maskline_client.errors import ClientError
from maskline_serve.repository.assemble import assemble
from serve import standin
from serve.conftest import DEADLINE_S

OBJECTS = 3
IN_FLIGHT = 8
CLOSE = 0.004  # of two scores; versions are 0.01 apart


def names_of(version: int) -> tuple[str, ...]:
    """The class names of a version."""
    return tuple(f"{name} {version}" for name in standin.SPEC.classes)


def best_score(version: int) -> float:
    """The score of the first object that a version finds; that of a stage, where the names are of the ensemble."""
    return 0.99 - 0.01 * version


def artifact_of(folder: Path, version: int) -> Path:
    """An artifact whose answers say its version twice: the ensemble by names, the stage `proposal` by scores."""
    spec = dataclasses.replace(standin.SPEC, classes=names_of(version))
    return standin.write_artifact(folder / f"artifact-{version}", spec, best_score(version))


def repository_of(folder: Path, version: int, name: str = "maskrcnn") -> Path:
    """The same, assembled."""
    repository = folder / f"{name}-{version}"
    assemble(artifact_of(folder, version), repository, name=name)
    return repository


def with_wrong_count(artifact: Path) -> Path:
    """Change an artifact so that it loads and answers, but counts one object less than none."""
    path = artifact / "proposal.onnx"
    model = onnx.load(path)
    (node,) = (node for node in model.graph.node if "num_detections" in node.output)
    node.output[0] = "one_more"
    one = onnx.helper.make_tensor("one", onnx.TensorProto.INT32, [1], [1])
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["one"], value=one))
    model.graph.node.append(onnx.helper.make_node("Sub", ["one_more", "one"], ["num_detections"]))
    onnx.save(model, path)
    manifest = json.loads((artifact / "manifest.json").read_text(encoding="utf-8"))
    manifest["stages"]["proposal"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (artifact / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return artifact


class Load:
    """Clients that call all the time and look at every answer.

    Attributes:
        answers: version -> how many answers were its own, whole.
        mixed: answers that are of no version, or of two.
        lost: what clients were told in place of an answer.
    """

    def __init__(self, detect: Callable[[], Detector], versions: int) -> None:
        self._detect, self._versions = detect, versions
        self.answers: collections.Counter[int] = collections.Counter()
        self.mixed: list[str] = []
        self.lost: list[ClientError] = []
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._call) for _ in range(IN_FLIGHT)]

    def total(self) -> int:
        """How many answers there are so far."""
        return sum(self.answers.values())

    def _call(self) -> None:
        with self._detect() as detector:
            while not self._stop.is_set():
                try:
                    found = detector.detect(standin.picture(OBJECTS))
                except ClientError as error:
                    self.lost.append(error)
                    continue
                of = [
                    version
                    for version in range(self._versions)
                    if found.names == names_of(version)[:OBJECTS]
                    and abs(float(found.scores[0]) - best_score(version)) < CLOSE
                ]
                with self._lock:
                    if len(of) == 1 and len(found) == OBJECTS:
                        self.answers[of[0]] += 1
                    else:
                        self.mixed.append(f"{found.names} {found.scores}")


@contextmanager
def load(url: str, versions: int) -> Iterator[Load]:
    """Clients of a server that call until the end of the block."""
    running = Load(lambda: Detector(url, deadline_s=DEADLINE_S), versions)
    for thread in running._threads:
        thread.start()
    try:
        yield running
    finally:
        running._stop.set()
        for thread in running._threads:
            thread.join()
