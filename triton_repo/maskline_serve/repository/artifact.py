"""Reads and checks an artifact folder: format, hashes, and what serving needs of the spec.

Letters: B batch, D detections an image, J keypoints, M mask side.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from maskline_serve.errors import ArtifactError
from maskline_serve.repository import keypoints
from maskline_serve.repository.description import Description, checked_file, plain, sha256
from maskline_serve.repository.external_data import refuse_external_data
from maskline_serve.repository.on_disk import BRANCHES, REQUIRED_STAGES, STAGES

MANIFEST = Description(
    file="manifest.json",
    format="maskline-artifact/1",
    error=ArtifactError,
    absent="is no artifact",
    make="make one with `maskline-export onnx CHECKPOINT {folder}`",
    again="export it again with `maskline-export onnx`",
)
SPEC_FORMAT = "maskline-model/1"
LOW = ("FP16", "BF16")  # what the features of typed stages travel in
DTYPES = ("UINT8", "INT32", "FP32", *LOW)
_RESIZE_FILTERS = ("pillow", "cv2", "torch")
_SIZE_RULES = ("round", "floor", "detectron2", "maskrcnn_benchmark", "detectron")
# Of a spec -> what the heads read. A dilated C5 has another stride, which the shapes say.
PASTE_RULES = ("aligned", "detectron")  # how masks become pixels, as `postprocess` knows them
FEATURES = {"fpn": ("p2", "p3", "p4", "p5"), "c4": ("c4",), "c5": ("c5",), "dc5": ("c5",)}


@dataclasses.dataclass(frozen=True)
class Tensor:
    """An input or output of a stage; `shape` has the batch first and names for symbolic dimensions."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    @property
    def dims(self) -> tuple[int, ...]:
        """The shape as config.pbtxt states it: without the batch, -1 where symbolic."""
        return tuple(side if isinstance(side, int) else -1 for side in self.shape[1:])


@dataclasses.dataclass(frozen=True)
class Stage:
    """One ONNX file of the artifact; `custom_ops` names the ops of ours that it has."""

    file: Path
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    custom_ops: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """The part of ModelSpec that the `preprocess` model needs.

    Attributes:
        shorter_side_px, longer_side_px: what an image is resized to.
        canvases: (height, width); none where `canvas_multiple` is a number.
        canvas_multiple: each image has a canvas of its own, its sides rounded up to a multiple of this number.
        resize_filter: `pillow`, `cv2` or `torch`.
        size_rule: `round`, `floor`, `detectron2`, `maskrcnn_benchmark` or `detectron`.
    """

    shorter_side_px: int
    longer_side_px: int
    canvases: tuple[tuple[int, int], ...]
    canvas_multiple: int | None
    resize_filter: str
    size_rule: str


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A checked artifact.

    Attributes:
        folder: where it lies.
        manifest_sha256: hash of manifest.json, which names the hash of every other file.
        release, bodies, precision: as the manifest says.
        classes: class names in class order.
        preprocessing: how an image becomes a canvas.
        stages: `backbone`, `proposal`, and `mask` and `keypoint` where the model has the branch.
        paste: how masks become pixels; None without masks.
        keypoints: what they are; None without that branch.
    """

    folder: Path
    manifest_sha256: str
    release: str
    bodies: str
    precision: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    stages: dict[str, Stage]
    paste: str | None
    keypoints: keypoints.Keypoints | None

    @property
    def max_detections(self) -> int:
        """D."""
        return self.output("proposal", "boxes", rank=2).dims[0]

    @property
    def mask_side(self) -> int | None:
        """M; None without masks."""
        return self.output("mask", "masks", rank=3).dims[1] if "mask" in self.stages else None

    @property
    def features(self) -> tuple[str, ...]:
        """What the heads read, finest first: p2 to p5, or c4 or c5 alone."""
        names = (tensor.name for tensor in self.stages["backbone"].outputs)
        return tuple(name for name in names if not name.startswith("rpn_"))

    def output(self, stage: str, name: str, rank: int) -> Tensor:
        """An output of a stage; ValueError when it has none of that name and number of dimensions."""
        outputs = {tensor.name: tensor for tensor in self.stages[stage].outputs}
        if name not in outputs:
            raise ValueError(f"stage {stage!r} has the outputs {', '.join(outputs)}, expected {name}")
        if len(outputs[name].dims) != rank:
            shape = list(outputs[name].shape)
            raise ValueError(f"{stage} output {name}: got {shape}, expected {rank + 1} dimensions")
        return outputs[name]


def read(folder: Path) -> Artifact:
    """Read and check an artifact.

    Raises:
        ArtifactError: a file is missing, a hash or format does not fit, or the manifest lacks what serving needs.
    """
    manifest = MANIFEST.read(folder)
    with MANIFEST.checking(folder):
        artifact = _build(folder, manifest, sha256(folder / MANIFEST.file))
        _check_features(artifact, manifest["spec"])
        _check_sizes(artifact)
    return artifact


def _build(folder: Path, manifest: dict[str, Any], digest: str) -> Artifact:
    """An Artifact of the manifest's JSON, with every file's hash checked."""
    spec = manifest["spec"]
    if spec["format"] != SPEC_FORMAT:
        raise ValueError(f"got spec format {spec['format']!r}, expected {SPEC_FORMAT!r}")
    stages = _stage_names(manifest["stages"], spec)
    entries = {**{name: manifest["stages"][name] for name in stages}, "labels": manifest["labels"]}
    for entry in entries.values():
        checked_file(folder / plain(entry["file"], "the artifact"), entry["sha256"])
    for name in stages:
        _check_inside(folder / entries[name]["file"])
    classes = tuple(str(name) for name in spec["classes"])
    if (folder / manifest["labels"]["file"]).read_text(encoding="utf-8").splitlines() != list(classes):
        raise ValueError(f"{manifest['labels']['file']} differs from the spec's {len(classes)} classes")
    return Artifact(
        folder=folder,
        manifest_sha256=digest,
        release=str(manifest["maskline"]),
        bodies=str(manifest["bodies"]),
        precision=str(manifest["precision"]),
        classes=classes,
        preprocessing=_preprocessing(spec["preprocessing"]),
        stages={
            name: Stage(
                folder / entries[name]["file"],
                tuple(tensor(item) for item in entries[name]["inputs"]),
                tuple(tensor(item) for item in entries[name]["outputs"]),
                tuple(sorted(map(str, entries[name]["custom_ops"]))),
            )
            for name in stages
        },
        paste=_paste(spec["mask_head"]) if "mask" in stages else None,
        keypoints=keypoints.read(spec["keypoint_head"]) if "keypoint" in stages else None,
    )


def _stage_names(found: dict[str, Any], spec: dict[str, Any]) -> list[str]:
    """The stages in the order of the line; ValueError unless they are those of the spec's model."""
    expected = [*REQUIRED_STAGES, *(name for name in BRANCHES if spec.get(f"{name}_head") is not None)]
    if unknown := [name for name in found if name not in STAGES]:
        raise ValueError(f"stage {unknown[0]!r} is not served by this release, which knows {', '.join(STAGES)}")
    if missing := [name for name in expected if name not in found]:
        raise ValueError(f"no stage {missing[0]!r}, expected {', '.join(expected)} as the spec says")
    if more := [name for name in found if name not in expected]:
        raise ValueError(f"got stage {more[0]!r}, but the spec has no {more[0]}_head")
    return expected


def _check_inside(path: Path) -> None:
    """Raise ArtifactError unless the ONNX file holds all of its data."""
    try:
        refuse_external_data(path)
    except ValueError as error:
        raise ArtifactError(str(error)) from error


def _paste(mask_head: dict[str, Any]) -> str:
    """The paste rule of the spec; artifacts of earlier releases do not name it."""
    found = str(mask_head.get("paste", PASTE_RULES[0]))
    if found not in PASTE_RULES:
        raise ValueError(f"got mask_head.paste {found!r}, expected one of {', '.join(PASTE_RULES)}")
    return found


def _preprocessing(data: dict[str, Any]) -> Preprocessing:
    """The preprocessing of the spec, with plain sanity checks."""
    canvases = tuple((int(height), int(width)) for height, width in data["canvases"])
    multiple = data.get("canvas_multiple")  # artifacts of earlier releases do not name it
    if (multiple is None) == (not canvases):
        raise ValueError(f"got preprocessing {data}, expected either at least one canvas or a canvas_multiple")
    sides = [int(data["shorter_side_px"]), int(data["longer_side_px"]), *(side for pair in canvases for side in pair)]
    if min(*sides, 1 if multiple is None else int(multiple)) < 1:
        raise ValueError(f"got preprocessing {data}, expected positive sides")
    resizing = data.get("resize_filter", "pillow"), data.get("size_rule", "round")  # likewise
    if resizing[0] not in _RESIZE_FILTERS or resizing[1] not in _SIZE_RULES:
        known = f"a resize_filter of {', '.join(_RESIZE_FILTERS)}, a size_rule of {', '.join(_SIZE_RULES)}"
        raise ValueError(f"got resize_filter {resizing[0]!r}, size_rule {resizing[1]!r}, expected {known}")
    return Preprocessing(sides[0], sides[1], canvases, None if multiple is None else int(multiple), *resizing)


def tensor(data: dict[str, Any]) -> Tensor:
    """One entry of a stage's inputs or outputs; ValueError for a dtype that Triton would not know."""
    if data["dtype"] not in DTYPES:
        raise ValueError(f"tensor {data['name']!r}: got dtype {data['dtype']!r}, expected {', '.join(DTYPES)}")
    shape = tuple(side if isinstance(side, int) else str(side) for side in data["shape"])
    return Tensor(str(data["name"]), str(data["dtype"]), shape)


def _check_features(artifact: Artifact, spec: dict[str, Any]) -> None:
    """Check that the backbone gives what the spec's heads read."""
    kind = spec["backbone"].get("features", "fpn")
    if kind not in FEATURES or artifact.features != FEATURES[kind]:
        expected = ", ".join(FEATURES.get(kind, ())) or f"a spec of {', '.join(FEATURES)}"
        raise ValueError(f"features {kind!r}: got {', '.join(artifact.features) or 'none'}, expected {expected}")


def _check_sizes(artifact: Artifact) -> None:
    """Check that one name has one size in all stages, since models are chained by name."""
    known: dict[str, Tensor] = {}
    for name, stage in artifact.stages.items():
        for tensor in (*stage.inputs, *stage.outputs):
            first = known.setdefault(tensor.name, tensor)
            if (first.dtype, first.dims) != (tensor.dtype, tensor.dims):
                raise ValueError(
                    f"{tensor.name} is {tensor.dtype} {list(tensor.dims)} in stage {name}, "
                    f"but {first.dtype} {list(first.dims)} before"
                )
    _check_output(artifact, "proposal", "boxes", (artifact.max_detections, 4))
    if artifact.mask_side is not None:
        _check_output(artifact, "mask", "masks", (artifact.max_detections, artifact.mask_side, artifact.mask_side))
    if artifact.keypoints is not None:
        shape = (artifact.max_detections, len(artifact.keypoints.names), 3)
        _check_output(artifact, "keypoint", "keypoints", shape)


def _check_output(artifact: Artifact, stage: str, name: str, expected: tuple[int, ...]) -> None:
    """Raise ValueError unless the stage's output has these dims, all of them known."""
    found = artifact.output(stage, name, len(expected)).dims
    if found != expected or min(found) < 1:
        raise ValueError(f"{stage} output {name}: got {list(found)}, expected {list(expected)}, each at least 1")
