"""Makes a model repository of an artifact: the reviewed configs, our models, the ONNX files, the artifact's sizes."""

from __future__ import annotations

import dataclasses
import enum
import importlib.metadata
import json
import secrets
import shutil
from pathlib import Path
from typing import Any

from maskline_serve.errors import ArtifactError, EnginesError, RepositoryError
from maskline_serve.repository import config, config_parts, libraries, names
from maskline_serve.repository.artifact import LOW, Artifact
from maskline_serve.repository.artifact import read as read_artifact
from maskline_serve.repository.cuda_pool import pool_bytes
from maskline_serve.repository.description import sha256
from maskline_serve.repository.gpu import official
from maskline_serve.repository.gpu import serving as gpu_serving
from maskline_serve.repository.gpu.config_gpu import for_gpu
from maskline_serve.repository.gpu.serving import Decode, GpuServing
from maskline_serve.repository.on_disk import FILE, STAGES, Repository, files_in
from maskline_serve.repository.revision import rename_models, revision_of
from maskline_serve.repository.tensorrt import serving as tensorrt_serving
from maskline_serve.repository.tensorrt.config_tensorrt import with_max_batch, with_tensorrt
from maskline_serve.repository.tensorrt.engines import Engines
from maskline_serve.repository.tensorrt.engines import read as read_engines
from maskline_serve.repository.writing import naming, swap


class Target(enum.StrEnum):
    """What a repository is made for: models, names and shapes are the same for all."""

    CPU = "cpu"
    ONNXRUNTIME_GPU = "onnxruntime-gpu"
    TENSORRT = "tensorrt"


ARTIFACT = "artifact_sha256"  # the parameter by which clients know which model answers them
CUSTOM_OPS = "custom_ops"  # the parameter that tells the `onnxruntime` backend which ops of ours a stage has
# git and object storage know no empty folders, and an ensemble without its version folder does not load.
KEEP, KEEP_TEXT = (
    "ensemble.txt",
    "An ensemble has no files of its own; this one keeps its version folder in git and object storage.\n",
)
_IGNORED = ("__pycache__", "*.pyc", ".*")
_OF_DECODING_ON_A_CARD = ("device_*.py", "*.onnx")  # of the code of `preprocess`, and of no other model


def sources() -> tuple[Path, Path]:
    """Our `models` and `backends` folders: inside the installed wheel, or beside the package in a checkout.

    Raises:
        RepositoryError: neither is there.
    """
    package = Path(__file__).resolve().parents[1]
    for root in (package, package.parent):
        if (root / "models").is_dir() and (root / "backends").is_dir():
            return root / "models", root / "backends"
    raise RepositoryError(f"no models and backends in or beside {package}; reinstall maskline")


def deploy_files(target: Target) -> Path:
    """The folder of what a target's repository is served with in a container: inside the wheel, or in a checkout.

    Raises:
        RepositoryError: it is not there.
    """
    models, _ = sources()
    folder = models.parent / "deploy" / target.value
    if not folder.is_dir():
        raise RepositoryError(f"no folder {folder}; reinstall maskline")
    return folder


def assemble(
    artifact_folder: Path,
    repository_folder: Path,
    target: Target = Target.CPU,
    force: bool = False,
    engines_folder: Path | None = None,
    cards: tuple[int, ...] | None = None,
    decode: Decode = Decode.HOST,
    name: str = names.DEFAULT,
) -> bool:
    """Write the model repository of an artifact, whole or not at all.

    Args:
        artifact_folder: what `maskline-export onnx` wrote.
        repository_folder: new, empty, or assembled earlier.
        target: what to assemble for.
        force: replace an assembled repository even if its files were changed by hand since.
        engines_folder: what `maskline-export engine` wrote of this artifact; for the TensorRT target, and no other.
        cards: numbers of the GPUs, for the target onnxruntime-gpu, and no other; the first one where none are given.
        decode: where images are decoded and resized; on the device for the target onnxruntime-gpu, and no other.
        name: of the public ensemble, by which clients ask for it; that of each repository in one server is another.

    Returns:
        False when the very same repository is there already and nothing had to be done.

    Raises:
        ArtifactError: the artifact is damaged or does not fit our configs.
        EnginesError: engines are missing, given without need, damaged, or do not fit.
        RepositoryError: the folder holds something that must not be overwritten; the name is none.
    """
    _check_name(name)
    artifact = read_artifact(artifact_folder)
    engines = _read_engines(engines_folder, artifact, target)
    gpu = _gpu(cards, decode, artifact, target)
    folder = repository_folder.resolve()  # a link stays, what it points to is replaced
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        with naming(folder, staging):
            staging.mkdir()  # not mkdtemp, whose folders a server under another user could not enter
            repository = _write(artifact, engines, gpu, staging, name)
        if not _must_replace(folder, repository, force):
            return False
        swap(staging, folder)
        return True
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _check_name(name: str) -> None:
    try:
        names.check_name(name)
    except ValueError as error:
        raise RepositoryError(f"--name: {error}") from None


def _read_engines(folder: Path | None, artifact: Artifact, target: Target) -> Engines | None:
    """The engines of the TensorRT target; None for another."""
    if (folder is None) == (target is Target.TENSORRT):
        got = "no --engines" if folder is None else f"--engines {folder}"
        raise EnginesError(
            f"target {target.value}: got {got}; the target tensorrt needs the folder that `maskline-export engine` "
            "wrote, no other target takes one"
        )
    return None if folder is None else read_engines(folder, artifact)


def _gpu(cards: tuple[int, ...] | None, decode: Decode, artifact: Artifact, target: Target) -> GpuServing | None:
    """How the target onnxruntime-gpu serves the artifact; None for another."""
    if target is Target.ONNXRUNTIME_GPU:
        return gpu_serving.serving_of(artifact, cards or (0,), decode)
    given = [] if cards is None else [f"--gpus {','.join(map(str, cards))}"]
    given += [] if decode is Decode.HOST else [f"--decode {decode.value}"]
    if given:
        raise RepositoryError(
            f"target {target.value}: got {' and '.join(given)}, which only the target "
            f"{Target.ONNXRUNTIME_GPU.value} takes; leave it out"
        )
    return None


def _write(
    artifact: Artifact, engines: Engines | None, gpu: GpuServing | None, folder: Path, public_name: str
) -> Repository:
    """Fill an empty folder; returns its description, which is written last."""
    models, backends = sources()
    left_out = () if gpu is not None and gpu.decode is Decode.DEVICE else _OF_DECODING_ON_A_CARD
    shutil.copytree(models, folder / "models", ignore=shutil.ignore_patterns(*_IGNORED, *left_out))
    libraries.write_host_library(folder, artifact.preprocessing.resize_filter)
    if engines is None:
        shutil.copytree(backends, folder / "backends", ignore=shutil.ignore_patterns(*_IGNORED))
        libraries.write_backend_libraries(folder, on_gpu=gpu is not None)
    else:
        tensorrt_serving.write(engines, folder, deploy_files(Target.TENSORRT))
    cut = config_parts.cut_for(artifact)
    for name in cut.models:
        shutil.rmtree(folder / "models" / name)
    for name in artifact.stages:
        version = folder / "models" / name / "1"
        version.mkdir(exist_ok=True)
        if engines is None:
            shutil.copyfile(artifact.stages[name].file, version / "model.onnx")
        else:
            shutil.copyfile(engines.plans[name], version / "model.plan")
    for path in sorted((folder / "models").glob("*/config.pbtxt")):
        text = _configured(path.read_text(encoding="utf-8"), path.parent.name, cut, artifact, engines, gpu)
        path.write_text(text, encoding="utf-8")
    pool = 0 if gpu is None else pool_bytes(gpu.batch_bytes, gpu_serving.POOL_BATCHES)
    if gpu is not None:
        official.write(folder, gpu, artifact.stages, pool, deploy_files(Target.ONNXRUNTIME_GPU))
    for ensemble in names.ENSEMBLES:
        version = folder / "models" / ensemble / "1"  # Triton wants a version folder, if an empty one
        version.mkdir(exist_ok=True)
        (version / KEEP).write_text(KEEP_TEXT, encoding="utf-8")
    revision = revision_of(folder, public_name)
    rename_models(folder, public_name, revision)
    repository = Repository(
        folder=folder,
        name=public_name,
        revision=revision,
        maskline=importlib.metadata.version("maskline"),
        target=_target(engines, gpu).value,
        artifact={
            "manifest_sha256": artifact.manifest_sha256,
            "maskline": artifact.release,
            "bodies": artifact.bodies,
            "precision": artifact.precision,
        },
        classes=artifact.classes,
        max_detections=artifact.max_detections,
        mask_side=artifact.mask_side,
        keypoints=() if artifact.keypoints is None else artifact.keypoints.names,
        engines={}
        if engines is None
        else {
            "tensorrt": engines.version,
            "compute_capability": engines.compute_capability,
            "precision": engines.precision,
        },
        gpu={} if gpu is None else {"cards": list(gpu.cards), "pool_bytes": pool},
        files={path.relative_to(folder).as_posix(): sha256(path) for path in files_in(folder)},
    )
    (folder / FILE).write_text(repository.to_json(), encoding="utf-8")
    return repository


def _target(engines: Engines | None, gpu: GpuServing | None) -> Target:
    if engines is not None:
        return Target.TENSORRT
    return Target.CPU if gpu is None else Target.ONNXRUNTIME_GPU


def _configured(
    text: str, name: str, cut: config_parts.Cut, artifact: Artifact, engines: Engines | None, gpu: GpuServing | None
) -> str:
    """The text of model `name`'s config: the artifact's parts, sizes, parameters; the target's types and limits."""
    where = f"models/{name}/config.pbtxt"
    text = config_parts.apply(text, cut, where)
    if name in STAGES:
        _check_contract(config.parse(text, where), artifact, name, typed=engines is not None or gpu is not None)
    text = config.with_dims(text, _dims(artifact), where)
    if name in names.ENSEMBLES:
        text = _with_known(text, _told_to_clients(artifact, engines), where)
    if name in (*names.ENSEMBLES, "preprocess"):
        text = config.with_parameter(text, ARTIFACT, artifact.manifest_sha256, where)
    if name == "preprocess":
        text = _with_known(text, _preprocessing(artifact), where)
    if name == "postprocess" and artifact.paste is not None:
        text = config.with_parameter(text, "paste", artifact.paste, where)
    if engines is None and name in STAGES and artifact.stages[name].custom_ops:
        text = config.with_parameter(text, CUSTOM_OPS, ", ".join(artifact.stages[name].custom_ops), where)
    if gpu is not None:
        text = for_gpu(text, name, gpu, artifact.stages, where)
    if engines is not None and name in STAGES:
        text = with_tensorrt(text, engines.dtypes, engines.num_profiles, where)
    if engines is not None and name in (*STAGES, *names.ENSEMBLES):
        text = with_max_batch(text, engines.max_batch, where)
    return text


def _with_known(text: str, values: dict[str, str], where: str) -> str:
    """The text with the values of those parameters that it has."""
    for key in values.keys() & set(config.parse(text, where).parameters):
        text = config.with_parameter(text, key, values[key], where)
    return text


def _told_to_clients(artifact: Artifact, engines: Engines | None) -> dict[str, str]:
    """What clients read in the parameters of the ensembles that have them: names, and what answers are traced by."""
    found = {
        "labels": json.dumps(list(artifact.classes), ensure_ascii=False),
        "precision": artifact.precision if engines is None else engines.precision,
        "maskline": importlib.metadata.version("maskline"),
    }
    if artifact.keypoints is not None:
        found["keypoints"] = json.dumps(dataclasses.asdict(artifact.keypoints), ensure_ascii=False, allow_nan=False)
    return found


def _preprocessing(artifact: Artifact) -> dict[str, str]:
    """The parameters of `preprocess`, as its model.py reads them."""
    spec = artifact.preprocessing
    return {
        "shorter_side_px": str(spec.shorter_side_px),
        "longer_side_px": str(spec.longer_side_px),
        "canvases": ",".join(f"{height}x{width}" for height, width in spec.canvases),
        "canvas_multiple": "" if spec.canvas_multiple is None else str(spec.canvas_multiple),
        "size_rule": spec.size_rule,
        "resize_filter": spec.resize_filter,
    }


def _dims(artifact: Artifact) -> dict[str, tuple[int, ...]]:
    """Tensor name -> dims, for every tensor whose size the artifact decides; one name has one size everywhere."""
    found = {t.name: t.dims for stage in artifact.stages.values() for t in (*stage.inputs, *stage.outputs)}
    return {**found, "mask_rle": (artifact.max_detections,)}


def _check_contract(parsed: Any, artifact: Artifact, name: str, typed: bool) -> None:
    """Raise ArtifactError unless a stage has the names, types and order that our config states.

    For a GPU (`typed`) the artifact's features may be FP16 or BF16: the target's own configs say what they travel in.
    """
    stage = artifact.stages[name]
    for what, ours, theirs in (("inputs", parsed.input, stage.inputs), ("outputs", parsed.output, stage.outputs)):
        stated = [f"{tensor.name} {config.dtype(tensor)}" for tensor in ours]
        found = [f"{tensor.name} {'FP32' if typed and tensor.dtype in LOW else tensor.dtype}" for tensor in theirs]
        if stated != found:
            pairs = zip([*stated, *[""] * len(found)], [*found, *[""] * len(stated)], strict=False)
            expected, got = next(pair for pair in pairs if pair[0] != pair[1])
            again = "export the checkpoint again by `maskline-export onnx` of this release"
            if not typed and got.endswith(LOW):
                again = (
                    f"a typed artifact is for a GPU: --target {Target.ONNXRUNTIME_GPU.value} or {Target.TENSORRT.value}"
                )
            raise ArtifactError(
                f"{name}.onnx {what}: got {got or 'nothing'}, expected {expected or 'nothing'} as the wire contract "
                f"says; {again}"
            )


def replaceable(folder: Path, force: bool = False) -> Repository | None:
    """The repository that may be replaced at `folder`; None where there is nothing. `assemble` asks it, last of all.

    Raises:
        RepositoryError: what is there is not ours, or was changed by hand since.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    if not (folder / FILE).is_file():
        raise RepositoryError(f"{folder} is there and was not assembled by maskline-serve; choose another folder")
    try:
        old = Repository.load(folder)
    except RepositoryError as error:
        reason = str(error).rpartition("; ")[0]
        raise RepositoryError(f"{reason}, so it cannot be replaced; delete {folder} or choose another folder") from None
    changes = old.changes()
    if added := [name for name, change in changes.items() if change == "added"]:
        raise RepositoryError(f"{folder} holds {added[0]}, which is not ours; move it away or choose another folder")
    if changes and not force:
        name, change = next(iter(changes.items()))
        raise RepositoryError(
            f"{folder}: {name} is {change} since it was assembled; `--force` replaces it all the same"
        )
    return old


def _must_replace(folder: Path, new: Repository, force: bool) -> bool:
    """Whether the very same repository is not there yet; raises RepositoryError when it must not be touched."""
    old = replaceable(folder, force)  # without `force` its files are as they were written
    return old is None or old.to_json() != new.to_json() or (force and bool(old.changes()))
