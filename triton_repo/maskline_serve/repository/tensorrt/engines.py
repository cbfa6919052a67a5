"""Reads and checks a folder of TensorRT engines against the artifact that is to be served with them."""

from __future__ import annotations

import dataclasses
import itertools
import re
from pathlib import Path
from typing import Any

from maskline_serve.errors import EnginesError
from maskline_serve.repository.artifact import LOW, Artifact, Tensor, tensor
from maskline_serve.repository.canvas_sizes import request_canvases, tensor_bytes
from maskline_serve.repository.description import Description, checked_file, plain, sha256

ENGINES = Description(
    file="engines.json",
    format="maskline-engines/1",
    error=EnginesError,
    absent="holds no engines",
    make="make them with `maskline-export engine ARTIFACT {folder}`",
    again="build them again with `maskline-export engine`",
)
PLUGIN_LIBRARY, TRITON_SHIM = "libmaskline_trt.so", "libmaskline_triton.so"
_FEATURE = re.compile(r"[pc]\d")  # p2 to p5, or the one level of a network without a pyramid


@dataclasses.dataclass(frozen=True)
class Engines:
    """Checked engines.

    Attributes:
        version: the exact version of TensorRT that they need.
        compute_capability: of the GPU that they need, e.g. "8.9".
        precision: of trunk and heads.
        plans: file of each stage.
        dtypes: tensor name -> dtype, for every input and output of the stages.
        plugins: libraries to serve with, by name; empty where the engines hold standard layers only.
        num_profiles: optimisation profiles in each plan, one a canvas.
        max_batch: the largest batch that every profile takes.
        pool_bytes: what one batch of the largest profile hands from step to step.
    """

    version: str
    compute_capability: str
    precision: str
    plans: dict[str, Path]
    dtypes: dict[str, str]
    plugins: dict[str, Path]
    num_profiles: int
    max_batch: int
    pool_bytes: int


def read(folder: Path, artifact: Artifact) -> Engines:
    """Read and check a folder of engines.

    Raises:
        EnginesError: not such a folder, built of another artifact, changed since, not for Triton's TensorRT, without
            the plugins it needs, or without a profile for a canvas of the artifact.
    """
    data = ENGINES.read(folder)
    with ENGINES.checking(folder):
        return _build(folder, data, artifact)


def _build(folder: Path, data: dict[str, Any], artifact: Artifact) -> Engines:
    """Engines of the JSON of engines.json, with every file's hash checked."""
    if data["runtime"] != "tensorrt":
        raise ValueError(f"got plans for {data['runtime']}, expected tensorrt, which Triton loads")
    plans: dict[str, Path] = {}
    tensors: dict[str, Tensor] = {}
    for name in artifact.stages:
        entry = data["stages"][name]
        plans[name] = checked_file(folder / f"{name}.plan", entry["sha256"])
        if entry["onnx_sha256"] != sha256(artifact.stages[name].file):
            raise ValueError(f"{name}.plan was built of another {name}.onnx than {artifact.folder} holds")
        stage = artifact.stages[name]
        for side, theirs in (("inputs", stage.inputs), ("outputs", stage.outputs)):
            ours = tuple(tensor(item) for item in entry[side])
            _check_tensors(name, side, ours, theirs)
            tensors |= {item.name: item for item in ours}
    profiles = [(tuple(item["batches"]), tuple(item["canvas"])) for item in data["profiles"]]
    _check_profiles(profiles, artifact)
    max_batch = min(batches[2] for batches, _ in profiles)
    return Engines(
        version=str(data["version"]),
        compute_capability=str(data["compute_capability"]),
        precision=str(data["precision"]),
        plans=plans,
        dtypes={name: item.dtype for name, item in tensors.items()},
        plugins=_plugins(folder, data),
        num_profiles=len(profiles),
        max_batch=max_batch,
        pool_bytes=max(
            max_batch * sum(tensor_bytes(item, canvas) for item in tensors.values()) for _, canvas in profiles
        ),
    )


def _check_tensors(stage: str, side: str, ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> None:
    """Same names, order, sizes and types as the artifact's, but for features, which travel in the engines' type."""

    def described(item: Tensor) -> str:
        free = _FEATURE.fullmatch(item.name) is not None and item.dtype in ("FP32", *LOW)
        return f"{item.name} {'float' if free else item.dtype} {list(item.dims)}"

    stated, found = ([described(item) for item in items] for items in (theirs, ours))
    if stated != found:
        pairs = itertools.zip_longest(found, stated)
        got, expected = next(pair for pair in pairs if pair[0] != pair[1])
        raise ValueError(f"{stage} {side}: got {got}, expected {expected} as the artifact has it")


def _check_profiles(profiles: list[tuple[tuple[int, ...], tuple[int, ...]]], artifact: Artifact) -> None:
    if artifact.preprocessing.canvas_multiple is not None:
        raise ValueError(
            f"got an artifact with canvas_multiple {artifact.preprocessing.canvas_multiple}, a canvas of its own for "
            "each image, expected a list of canvases, since engines have a profile for each; serve it with --target "
            "cpu, or replace canvas_multiple by canvases in the checkpoint's model.json and export it again"
        )
    built = {canvas for _, canvas in profiles}
    if missing := [canvas for canvas in request_canvases(artifact.preprocessing.canvases) if canvas not in built]:
        height, width = missing[0]
        raise ValueError(
            f"no profile for the canvas {height}x{width}, which a request can get; leave --profile out or add "
            f"1:4:8@{height}x{width}"
        )
    if lowest := [batches for batches, _ in profiles if batches[0] > 1]:
        raise ValueError(f"got a profile with batches of {lowest[0][0]} and more, expected 1: requests come alone too")


def _plugins(folder: Path, data: dict[str, Any]) -> dict[str, Path]:
    found = {}
    for item in data["plugins"]:
        name = plain(item["file"], "the folder plugins")
        found[name] = checked_file(folder / "plugins" / name, item["sha256"])
    layers = sum(int(entry["plugin_layers"]) for entry in data["stages"].values())
    if layers and (missing := {PLUGIN_LIBRARY, TRITON_SHIM} - set(found)):
        raise ValueError(
            f"the engines have {layers} plugin layers, but no plugins/{sorted(missing)[0]} came with them; "
            "build both libraries with `make plugins`"
        )
    return found
