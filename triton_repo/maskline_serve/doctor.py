"""A linter of an assembled repository and of the machine that is to serve it; nothing is served."""

from __future__ import annotations

import dataclasses
import enum
import importlib.metadata
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from maskline_serve import gpu_checks, installed
from maskline_serve.errors import RepositoryError, ServerNotFoundError
from maskline_serve.intact import differences
from maskline_serve.repository import config, names
from maskline_serve.repository.external_data import refuse_external_data
from maskline_serve.repository.libraries import BACKEND_PLACE
from maskline_serve.repository.on_disk import STAGES, Repository
from maskline_serve.repository.tensorrt import check_engines
from maskline_serve.server import find_server
from maskline_serve.server.version import stated_version

# Canvases and masks travel through shared memory. Feature maps do where Python runs the stages, 95 MB an 800x1344 image
# and copy. Containers get 64 MB by default.
SHM_WANTED_MIB = 256
SHM_WANTED_FOR_FEATURES_MIB = 1024
_ONNX_DTYPES = {"tensor(uint8)": "UINT8", "tensor(int32)": "INT32", "tensor(float)": "FP32", "tensor(float16)": "FP16"}


class Level(enum.StrEnum):
    """How much a finding matters; errors keep the repository from serving."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One row of the table: what was looked at, and what was seen."""

    check: str
    level: Level
    detail: str


def examine(folder: Path) -> list[Finding]:
    """Every check, in the order in which a person would look.

    Raises:
        RepositoryError: the folder is no assembled repository, so that there is nothing to examine.
    """
    repository = Repository.load(folder)
    findings, configs = of_repository(repository)
    findings += _tensorrt(repository) if repository.engines else _machine(repository)
    if repository.gpu:
        findings += _findings(gpu_checks.rows(repository, configs))
    return [*findings, *_findings(installed.kernels(repository))]


def of_repository(repository: Repository) -> tuple[list[Finding], dict[str, Any]]:
    """What there is to say of a repository itself, on any machine, and its parsed configs by model."""
    findings = [
        Finding(
            "repository",
            Level.OK,
            f"{repository.title}, "
            f"target {repository.target}, {repository.answers}, {repository.precision}, "
            f"{repository.artifact['bodies']} bodies, assembled by maskline {repository.maskline}",
        ),
        *_files(repository),
    ]
    configs: dict[str, Any] = {}
    for path in sorted(repository.models.glob("*/config.pbtxt")):
        name = path.parent.name
        try:
            configs[name] = config.parse(path.read_text(encoding="utf-8"), f"models/{name}/config.pbtxt")
        except RepositoryError as error:
            findings.append(Finding(names.word_of(name), Level.ERROR, str(error)))
    for name, parsed in configs.items():
        problems = [*_model(repository, name, parsed, configs)]
        findings += [Finding(names.word_of(name), Level.ERROR, text) for text in problems]
        if not problems:
            kind = f"{len(parsed.ensemble_scheduling.step)} steps" if parsed.platform == "ensemble" else parsed.backend
            findings.append(Finding(names.word_of(name), Level.OK, f"{kind}, batches up to {parsed.max_batch_size}"))
    return findings, configs


def _files(repository: Repository) -> list[Finding]:
    """What changed on disk since the repository was assembled."""
    meant, wrong = differences(repository)
    if not meant and not wrong:
        return [Finding("files", Level.OK, f"{len(repository.files)} files, every hash as assembled")]
    findings = [Finding("files", Level.ERROR, f"{name} is {change}") for name, change in wrong.items()]
    findings += [Finding("files", Level.WARNING, f"{name} is {change}") for name, change in meant.items()]
    return findings


def _model(repository: Repository, name: str, parsed: Any, configs: dict[str, Any]) -> Iterator[str]:
    """What is wrong with one model."""
    if parsed.name != name:
        yield f"got name {parsed.name!r} in config.pbtxt, expected the folder's"
    if not any(entry.name.isdigit() for entry in (repository.models / name).iterdir() if entry.is_dir()):
        yield "no version folder, expected 1"
    is_stage = names.word_of(name) in STAGES
    if is_stage and repository.engines:
        yield from _plan(repository.models / name / "1" / "model.plan", parsed)
    elif is_stage:
        yield from _onnx(repository.models / name / "1" / "model.onnx", parsed)
    elif parsed.platform == "ensemble":
        yield from _ensemble(parsed, configs)
    elif not (repository.models / name / "1" / "model.py").is_file():
        yield "no 1/model.py"


def _plan(path: Path, parsed: Any) -> Iterator[str]:
    """What is wrong with an engine's config; the plan itself only TensorRT on the right GPU could read."""
    if not path.is_file():
        yield "no 1/model.plan"
    if (parsed.platform, parsed.backend) != ("tensorrt_plan", "tensorrt"):
        yield f"got platform {parsed.platform!r}, backend {parsed.backend!r}, expected 'tensorrt_plan', 'tensorrt'"
    kinds = {group.Kind.Name(group.kind) for group in parsed.instance_group}
    if kinds != {"KIND_GPU"}:
        yield f"got instance groups {', '.join(sorted(kinds)) or 'none'}, expected KIND_GPU"


def _tensorrt(repository: Repository) -> list[Finding]:
    """Whether this machine's TensorRT and GPU are those that the engines need, and what else serving takes."""
    findings = []
    for what, (found, expected) in check_engines.compare(repository.engines).items():
        if found is None:
            detail = f"none found here; the engines need {expected}: look again where they are served"
            findings.append(Finding(what, Level.WARNING, detail))
        elif found != expected:
            detail = f"got {found}, expected {expected}; build the engines again with `maskline-export engine`"
            findings.append(Finding(what, Level.ERROR, detail))
        else:
            findings.append(Finding(what, Level.OK, found))
    detail = (
        "launch.sh in Triton's container of the release with this TensorRT; `maskline-serve run` has no such backend"
    )
    return [*findings, Finding("server", Level.WARNING, f"not looked for: {detail}")]


def _onnx(path: Path, parsed: Any) -> Iterator[str]:
    """Where the config and the ONNX file's inputs and outputs differ."""
    if not path.is_file():
        yield "no 1/model.onnx"
        return
    try:
        import onnxruntime  # heavy, and only this check needs it
    except ImportError:
        yield "1/model.onnx cannot be checked without ONNX Runtime; `pip install 'maskline[serve]'`"
        return
    try:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # loads faster
        options.log_severity_level = 4
        refuse_external_data(path)
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions share no base class below Exception
        yield f"1/model.onnx does not load: {' '.join(str(error).split())[:300]}"
        return
    for stated, found in ((parsed.input, session.get_inputs()), (parsed.output, session.get_outputs())):
        expected = [f"{t.name} {config.dtype(t)} {list(t.dims)}" for t in stated]
        got = [f"{t.name} {_ONNX_DTYPES.get(t.type, t.type)} {_dims(t.shape)}" for t in found]
        yield from (f"1/model.onnx has {item}, config.pbtxt does not" for item in got if item not in expected)
        yield from (f"config.pbtxt has {item}, 1/model.onnx does not" for item in expected if item not in got)


def _dims(shape: list[int | str | None]) -> list[int]:
    """An ONNX shape as config.pbtxt states it: without the batch, -1 where symbolic."""
    return [side if isinstance(side, int) else -1 for side in shape[1:]]


def _ensemble(parsed: Any, configs: dict[str, Any]) -> Iterator[str]:
    """What is wrong with an ensemble's wiring."""
    known = {tensor.name: tensor for tensor in parsed.input}
    for step in parsed.ensemble_scheduling.step:
        model, word = configs.get(step.model_name), names.word_of(step.model_name)
        if model is None:
            yield f"step {step.model_name}: no such model"
            known.update(dict.fromkeys(step.output_map.values()))  # None: given, but of unknown type
            continue
        if 0 < model.max_batch_size < parsed.max_batch_size:
            yield f"takes batches up to {parsed.max_batch_size}, its step {word} {model.max_batch_size}"
        yield from _step_inputs(step, model, known)
        outputs = {tensor.name: tensor for tensor in model.output}
        for name, target in step.output_map.items():
            if name not in outputs:
                yield f"step {word}: it has no output {name}"
            else:
                known[target] = outputs[name]
    for tensor in parsed.output:
        if tensor.name not in known:
            yield f"output {tensor.name}: no step gives it"
        elif problem := _misfit(known[tensor.name], tensor):
            yield f"output {tensor.name}: {problem}"


def _step_inputs(step: Any, model: Any, known: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the inputs of one step, given the tensors that earlier steps made."""
    word = names.word_of(step.model_name)
    for tensor in model.input:
        source = step.input_map.get(tensor.name)
        if source is None:
            yield f"step {word}: input {tensor.name} is not mapped"
        elif source not in known:
            yield f"step {word}: input {tensor.name} comes from {source}, which no earlier step gives"
        elif problem := _misfit(known[source], tensor):
            yield f"step {word}: {source} -> {tensor.name}: {problem}"


def _misfit(source: Any, target: Any) -> str | None:
    """Why a tensor cannot flow from `source` (None: unknown) to `target`, or None."""
    if source is None:
        return None
    if source.data_type != target.data_type:
        return f"got {config.dtype(source)}, expected {config.dtype(target)}"
    pairs = list(zip(source.dims, target.dims, strict=False))
    if len(source.dims) != len(target.dims) or any(a != b and -1 not in (a, b) for a, b in pairs):
        return f"got dims {list(source.dims)}, expected {list(target.dims)}"
    return None


def _machine(repository: Repository) -> list[Finding]:
    """The server and the Python packages that the models run on."""
    try:
        installation = find_server.find()
    except ServerNotFoundError as error:
        return [Finding("server", Level.ERROR, str(error))]
    findings = [_attempt("server", lambda: f"{installation.origin}, version {stated_version(installation)}")]
    free_mib = shutil.disk_usage("/dev/shm").free / 2**20
    on_the_way = BACKEND_PLACE not in repository.files and not repository.gpu
    wanted = SHM_WANTED_FOR_FEATURES_MIB if on_the_way else SHM_WANTED_MIB
    enough = free_mib >= wanted
    advice = "" if enough else f", expected {wanted}: start the container with --shm-size=2g"
    findings.append(Finding("/dev/shm", Level.OK if enough else Level.WARNING, f"{free_mib:.0f} MiB free{advice}"))
    if installation.is_wheel:
        for package in ("numpy", "pillow"):
            findings.append(_attempt(package, lambda name=package: importlib.metadata.version(name)))  # type: ignore[misc]
        findings += _findings([installed.onnx_runtime()])
    return findings


def _findings(rows: list[installed.Row]) -> list[Finding]:
    return [Finding(check, Level(level), detail) for check, level, detail in rows]


def _attempt(check: str, look: Callable[[], str]) -> Finding:
    """A finding of what `look` returns or raises."""
    try:
        return Finding(check, Level.OK, look())
    except importlib.metadata.PackageNotFoundError:
        return Finding(check, Level.ERROR, "not installed; `pip install 'maskline[serve]'`")
    except ServerNotFoundError as error:
        return Finding(check, Level.ERROR, str(error))
