"""manifest.json, repository.json and engines.json, edited: every reader refuses by its own error or takes it whole."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from atheris import FuzzedDataProvider
from fuzz.edits import json_file
from fuzz.oracle import judged
from maskline_export import manifest
from maskline_export.engine.engine_manifest import load_engines
from maskline_export.errors import ContractError, EngineBuildError
from maskline_serve.errors import ArtifactError, EnginesError, RepositoryError
from maskline_serve.repository import artifact
from maskline_serve.repository.assemble import assemble
from maskline_serve.repository.canvas_sizes import request_canvases
from maskline_serve.repository.description import sha256
from maskline_serve.repository.on_disk import Repository
from maskline_serve.repository.tensorrt import engines
from serve import standin

PLAN = b"a plan"


def prepare(place: Path) -> Callable[[bytes], None]:
    """The target: the first byte says which of the three files is edited."""
    folders = {name: place / name for name in ("artifact", "repository", "engines")}
    standin.write_artifact(folders["artifact"], standin.VARIANTS["masks and keypoints"])
    assemble(folders["artifact"], folders["repository"])
    whole = artifact.read(folders["artifact"])
    _write_engines(folders["engines"], whole)
    readers = {
        ("artifact", "manifest.json"): [
            (artifact.read, ArtifactError),
            (manifest.load_artifact, ContractError),
        ],
        ("repository", "repository.json"): [(Repository.load, RepositoryError)],
        ("engines", "engines.json"): [
            (lambda folder: engines.read(folder, whole), EnginesError),
            (load_engines, EngineBuildError),
        ],
    }
    good = {name: json.loads((folders[name] / file).read_text()) for name, file in readers}
    for (name, _), known in readers.items():
        for read, _ in known:
            read(folders[name])  # what is edited has to be good

    def run(data: bytes) -> None:
        choices = FuzzedDataProvider(data)
        name, file = choices.PickValueInList(list(readers))
        (folders[name] / file).write_bytes(json_file(good[name], choices))
        for read, error in readers[name, file]:
            with judged(error):
                read(folders[name])

    return run


def _write_engines(folder: Path, whole: artifact.Artifact) -> None:
    """A folder of engines of the artifact, whose plans nobody could run."""
    folder.mkdir()
    stages = {}
    for name, stage in whole.stages.items():
        (folder / f"{name}.plan").write_bytes(PLAN)
        stages[name] = {
            "file": f"{name}.plan",
            "sha256": hashlib.sha256(PLAN).hexdigest(),
            "bytes": len(PLAN),
            "onnx_sha256": sha256(stage.file),
            "plugin_layers": 0,
            "build_seconds": 1.5,
            "inputs": [dataclasses.asdict(item) for item in stage.inputs],
            "outputs": [dataclasses.asdict(item) for item in stage.outputs],
        }
    data = {
        "format": "maskline-engines/1",
        "maskline": "0.1.0",
        "runtime": "tensorrt",
        "version": "10.14.1",
        "compute_capability": "9.0",
        "gpu": None,
        "precision": "fp16",
        "plugins": [],
        "profiles": [
            {"batches": [1, 4, 8], "canvas": canvas} for canvas in request_canvases(whole.preprocessing.canvases)
        ],
        "stages": stages,
    }
    (folder / "engines.json").write_text(json.dumps(data))
