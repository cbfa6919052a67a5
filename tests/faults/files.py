"""Repositories that are damaged, changed or gone."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from faults.kind import Kind
from faults.scene import Load, Scene

# A file of each kind in a repository: a word for the name of the fault, and where it lies.
FILES = {
    "network": "models/backbone*/1/model.onnx",
    "config": "models/backbone*/config.pbtxt",
    "ensemble-config": "models/maskrcnn/config.pbtxt",
    "model-code": "models/preprocess*/1/model.py",
    "own-ops": "backends/onnxruntime/libmaskline_ort.so",
    "own-backend": "backends/onnxruntime/libtriton_onnxruntime.so",
    "host-library": "models/postprocess*/1/maskline_host/libmaskline_host.so",
    "description": "repository.json",
}


def one(repository: Path, pattern: str) -> Path:
    """The first file of a pattern."""
    return sorted(repository.glob(pattern))[0]


def _damaged(pattern: str, damage: Callable[[Path], None]) -> Callable[[Scene], str]:
    def check(scene: Scene) -> str:
        repository = scene.copy()
        path = one(repository, pattern)
        damage(path)
        line = scene.refused(repository=repository)
        assert path.name in line or str(repository) in line, line
        return line.replace(str(scene.folder), "")

    return check


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    """One bit in the middle of the file, which every parser takes."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def missing(path: Path) -> None:
    path.unlink()


def changed_while_it_runs(scene: Scene) -> str:
    """Every network replaced by text, in place."""
    repository = scene.copy()
    with scene.serving(repository=repository) as run, Load(run.grpc) as load:
        for path in repository.rglob("*.onnx"):
            path.write_bytes(b"not a network")
        load.until(200)
        return f"goes on with what it loaded: {load.only()}"


def deleted_while_it_runs(scene: Scene) -> str:
    repository = scene.copy()
    with scene.serving(repository=repository) as run, Load(run.grpc) as load:
        shutil.rmtree(repository)
        load.until(200)
        return f"goes on with what it loaded: {load.only()}"


def deleted_and_restarted(scene: Scene) -> str:
    """The restart finds no repository, again and again, and `run` ends."""
    repository = scene.copy()
    with scene.serving("--restart", repository=repository) as run:
        server = run.server
        shutil.rmtree(repository)
        os.kill(server, signal.SIGKILL)
        assert run.process.wait(240) == 1
        run._reader.join()
        line = next(text for text in run.err if text.startswith("maskline-serve:"))
        return line.replace(str(scene.folder), "")


KINDS = (
    *(
        Kind(
            f"{word}-truncated",
            f"`{pattern}` has half of its bytes",
            "status 1, one line that names the file or the repository",
            _damaged(pattern, truncated),
        )
        for word, pattern in FILES.items()
    ),
    *(
        Kind(
            f"{word}-missing",
            f"`{FILES[word]}` is missing",
            "status 1, one line that names the file or the repository",
            _damaged(FILES[word], missing),
        )
        for word in ("network", "own-ops", "description")
    ),
    Kind(
        "network-flipped",
        "one bit of a network's weights is another",
        "status 1, one line that names the file: the answers would be wrong",
        _damaged(FILES["network"], flipped),
    ),
    Kind(
        "other-library",
        "`libmaskline_ort.so` is another library than the one that was assembled",
        "status 1, one line that names the file",
        _damaged(
            FILES["own-ops"], lambda path: shutil.copyfile(path.with_name("libtriton_onnxruntime.so"), path) and None
        ),
    ),
    Kind("changed-while-it-runs", "all networks become text", "every answer right", changed_while_it_runs),
    Kind("deleted-while-it-runs", "the repository is deleted", "every answer right", deleted_while_it_runs),
    Kind(
        "deleted-and-restarted",
        "the repository is deleted and tritonserver killed, with `--restart`",
        "some tries, then status 1 and one line",
        deleted_and_restarted,
    ),
)
