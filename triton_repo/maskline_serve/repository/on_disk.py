"""An assembled model repository on disk: what `repository.json` says of it, and reading that back.

    REPO/repository.json          where it came from, and the sha256 of every file
    REPO/models/<name>/...        what `tritonserver --model-repository` gets; names.py says how models are called
    REPO/backends/onnxruntime/... the Python-based backend that stands in where a server has none of that name (cpu)
    REPO/plugins/...              libraries that the engines need (tensorrt)
    REPO/launch.sh, check_engines.py, Containerfile   how the engines are served (tensorrt)

Letters: D detections an image, J keypoints, M mask side.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from maskline_serve.errors import RepositoryError
from maskline_serve.repository import names
from maskline_serve.repository.description import Description, sha256

FILE = "repository.json"
DESCRIPTION = Description(
    file=FILE,
    format="maskline-repository/1",
    error=RepositoryError,
    absent="is no assembled repository",
    make="run `maskline-serve assemble ARTIFACT {folder}`",
    again="assemble the repository again",
)
REQUIRED_STAGES = ("backbone", "proposal")
BRANCHES = ("mask", "keypoint")  # stages that a model may have or not
STAGES = (*REQUIRED_STAGES, *BRANCHES)
# Of repositories that were assembled by releases without these entries.
_EARLIER: dict[str, Any] = {"keypoints": [], "gpu": {}, "name": names.DEFAULT, "revision": ""}


@dataclasses.dataclass(frozen=True)
class Repository:
    """What `repository.json` holds.

    Attributes:
        folder: the repository.
        name: of its public ensemble, and the beginning of the names of the others.
        revision: the tag in the names of its steps: a hash of its name and of all that decides an answer; empty of
            repositories that were assembled by releases without it, whose steps have no tag.
        maskline: the release that assembled it.
        target: what it was assembled for, e.g. `cpu`.
        artifact: `manifest_sha256`, and `maskline`, `bodies`, `precision` as the manifest says.
        classes: class names in class order.
        max_detections: D.
        mask_side: M; None for a model without masks.
        keypoints: names of the J keypoints; none for a model without them.
        engines: `tensorrt`, `compute_capability` and `precision` that the engines need; empty for other targets.
        gpu: of the target onnxruntime-gpu the numbers of its `cards`, and `pool_bytes`, what a server reserves on each
            for tensors between the steps; empty for other targets.
        files: path inside the repository, with slashes -> sha256, for every file but repository.json.
    """

    folder: Path
    name: str
    revision: str
    maskline: str
    target: str
    artifact: dict[str, str]
    classes: tuple[str, ...]
    max_detections: int
    mask_side: int | None
    keypoints: tuple[str, ...]
    engines: dict[str, str]
    gpu: dict[str, Any]
    files: dict[str, str]

    @property
    def models(self) -> Path:
        """The folder for `--model-repository`."""
        return self.folder / "models"

    def model(self, word: str) -> Path:
        """The folder of a step, by what it is: `backbone`, `postprocess_raw`."""
        return self.models / names.tagged(word, self.revision)

    @property
    def title(self) -> str:
        """Which one it is, in words: "maskrcnn, revision 1f0c6b3ad2e9"."""
        return f"{self.name}, revision {self.revision}" if self.revision else f"{self.name}, without a revision"

    @property
    def precision(self) -> str:
        """What it computes in: of the engines where there are some, else of the artifact."""
        return (self.engines or self.artifact)["precision"]

    @property
    def backends(self) -> Path:
        """The folder with our own backends."""
        return self.folder / "backends"

    @property
    def answers(self) -> str:
        """What it finds, in words: "3 classes, boxes, masks, 17 keypoints"."""
        count = len(self.classes)
        parts = [f"{count} class{'es' if count != 1 else ''}", "boxes"]
        parts += ["masks"] if self.mask_side is not None else []
        parts += [f"{len(self.keypoints)} keypoints"] if self.keypoints else []
        return ", ".join(parts)

    def to_json(self) -> str:
        """The text of `repository.json`; the same input gives the same text."""
        data = {"format": DESCRIPTION.format, **dataclasses.asdict(self)}
        del data["folder"]
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"

    @staticmethod
    def load(folder: Path) -> Repository:
        """Read a repository.

        Raises:
            RepositoryError: not a folder that `maskline-serve assemble` of this release wrote.
        """
        data = DESCRIPTION.read(folder)
        with DESCRIPTION.checking(folder):
            return _build(folder, data)

    def changes(self) -> dict[str, str]:
        """What differs on disk from what was assembled: path -> `missing`, `changed` or `added`."""
        now = {path.relative_to(self.folder).as_posix(): path for path in files_in(self.folder)}
        found = {name: "missing" for name in self.files if name not in now}
        for name, path in now.items():
            if name not in self.files:
                found[name] = "added"
            elif sha256(path) != self.files[name]:
                found[name] = "changed"
        return dict(sorted(found.items()))


def _build(folder: Path, data: dict[str, Any]) -> Repository:
    """A Repository of JSON data, with its keys checked."""
    del data["format"]
    data = {**_EARLIER, **data}
    expected = {field.name for field in dataclasses.fields(Repository)} - {"folder"}
    if set(data) != expected:
        wrong = ", ".join(sorted(set(data) ^ expected))
        raise ValueError(f"unknown or missing {wrong}")
    return Repository(
        folder=folder, **{**data, "classes": tuple(data["classes"]), "keypoints": tuple(data["keypoints"])}
    )


def files_in(folder: Path) -> list[Path]:
    """Every file below `folder` in path order, but `repository.json` and Python's bytecode."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and path != folder / FILE
    ]
