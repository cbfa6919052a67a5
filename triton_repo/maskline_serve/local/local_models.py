"""The public ensembles of an artifact or a repository, their steps run one after the other in this process."""

from __future__ import annotations

import contextlib
import importlib.util
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import model_config_pb2

from maskline_serve.errors import ArtifactError, ModelNotLoadedError, RepositoryError, ServeError
from maskline_serve.local.backend_utils import InferenceRequest, TritonError, TritonModelException
from maskline_serve.local.python_model import PythonModel
from maskline_serve.repository import names
from maskline_serve.repository.artifact import MANIFEST
from maskline_serve.repository.assemble import assemble
from maskline_serve.repository.config import parse
from maskline_serve.repository.on_disk import FILE, STAGES, Repository

BOXES = "_boxes"  # the ensemble without masks and keypoints
Device = Literal["cpu", "cuda"]
_KINDS = {
    "cpu": model_config_pb2.ModelInstanceGroup.KIND_CPU,
    "cuda": model_config_pb2.ModelInstanceGroup.KIND_GPU,
}


class RefusedError(ServeError):
    """A step refused its input: the caller is to blame."""


class LocalModels:
    """The steps of the ensemble, loaded; calls may come from several threads.

    Args:
        folder: of an artifact (`maskline-export onnx`), or of a repository of the target `cpu` or `onnxruntime-gpu`
            (`maskline-serve assemble`), whatever the device.
        device: what the stages compute on.

    Attributes:
        config: the ModelConfig of the ensemble that answers all.

    What a step says when it is loaded is in the log `maskline.local`.

    Raises:
        ServeError: the folder is neither, is damaged, or a step does not load.
        ImportError: ONNX Runtime is not installed.
    """

    def __init__(self, folder: Path, device: Device = "cpu") -> None:
        if importlib.util.find_spec("onnxruntime") is None:  # before anything is read
            raise ModuleNotFoundError("no Python package onnxruntime", name="onnxruntime")
        self._models: dict[str, PythonModel] = {}
        self._calls = _Calls()
        self._scratch = tempfile.TemporaryDirectory(prefix="maskline-local-")
        try:
            repository = self._repository(folder)
            self.config = _config(repository, repository.name)
            self._boxes = _config(repository, repository.name + BOXES) if repository.revision else None
            for config in filter(None, (self.config, self._boxes)):
                for name in (step.model_name for step in config.ensemble_scheduling.step):
                    self._models[name] = self._models.get(name) or _load(repository, name, device)
        except BaseException:
            self.close()
            raise
        self._computing = threading.Lock()  # a stage takes all cores: two at a time would be slower than one by one

    def infer(self, image: bytes, masks: bool = True) -> dict[str, npt.NDArray[Any]]:
        """The ensemble's outputs for one image file, each with a batch of 1.

        Args:
            image: a JPEG, PNG or WebP file.
            masks: False: boxes alone, of the ensemble that runs no mask and no keypoint stage.

        Raises:
            RefusedError: the image is not one that a server would take.
            ServeError: a step failed, or the repository has no ensemble for boxes alone.
        """
        config = self.config if masks else self._boxes
        if config is None:
            raise ServeError("this repository is of a release without boxes on demand; assemble it again")
        tensors: dict[str, npt.NDArray[Any]] = {"image": np.array([[image]], np.object_)}
        with self._calls.one():
            for step in config.ensemble_scheduling.step:
                request = InferenceRequest({name: tensors[outer] for name, outer in step.input_map.items()})
                answer = self._run(step.model_name, request)
                tensors |= {outer: answer[name] for name, outer in step.output_map.items()}
        return {output.name: tensors[output.name] for output in config.output}

    def close(self) -> None:
        """Let go of the models and of the files that were made for them, once the calls under way have ended."""
        self._calls.end()
        for model in self._models.values():
            model.close()
        self._models.clear()
        self._scratch.cleanup()

    def _run(self, name: str, request: InferenceRequest) -> dict[str, npt.NDArray[Any]]:
        if names.word_of(name) in STAGES:
            with self._computing:
                response = self._models[name].execute(request)
        else:
            response = self._models[name].execute(request)
        if response.error is not None:
            error = RefusedError if response.error.code() == TritonError.INVALID_ARG else ServeError
            raise error(response.error.message())
        return response.outputs

    def _repository(self, folder: Path) -> Repository:
        """The repository itself, or one that is assembled of the artifact."""
        if not (folder / FILE).is_file():
            _refuse_other(folder)
            made = Path(self._scratch.name) / "repository"
            assemble(folder, made)
            return Repository.load(made)
        repository = Repository.load(folder)
        if repository.engines:
            raise RepositoryError(
                f"{folder}: got target tensorrt, whose engines Triton runs, expected another target or an artifact; "
                "name the artifact that it was assembled of"
            )
        return repository


class _Calls:
    """How many calls are under way, so that none loses its models."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._number, self._ended = 0, False

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """While a call is made.

        Raises:
            ServeError: the models are closed.
        """
        with self._changed:
            if self._ended:
                raise ServeError("this model was closed; open it again")
            self._number += 1
        try:
            yield
        finally:
            with self._changed:
                self._number -= 1
                self._changed.notify_all()

    def end(self) -> None:
        """Let no further call begin, and wait for those under way."""
        with self._changed:
            self._ended = True
            self._changed.wait_for(lambda: self._number == 0)


def _refuse_other(folder: Path) -> None:
    """Raise ArtifactError for a folder that is plainly another one, and say which was meant."""
    expected = "expected an artifact of `maskline-export onnx`, or a repository"
    if not folder.is_dir():
        raise ArtifactError(f"{folder}: got no such folder, {expected}; check the name")
    if (folder / "model.json").is_file():
        raise ArtifactError(f"{folder}: got a checkpoint, {expected}: `maskline-export onnx {folder} ARTIFACT`")
    if (folder / "artifact" / MANIFEST.file).is_file():
        raise ArtifactError(f"{folder}: got the folder around an artifact, {expected}; name {folder / 'artifact'}")


def _config(repository: Repository, name: str) -> Any:
    path = repository.models / name / "config.pbtxt"
    return parse(path.read_text(encoding="utf-8"), path)


def _load(repository: Repository, name: str, device: Device) -> PythonModel:
    """A model of the repository by the code that serves it: its own, or that of the backend it names."""
    config, folder = _config(repository, name), repository.models / name
    code = folder / "1" if config.backend == "python" else repository.folder / "backends" / config.backend
    if names.word_of(name) in STAGES:
        for group in config.instance_group:
            group.kind = _KINDS[device]
        config.parameters.pop("batch_sizes", None)  # one image at a time: a batch is never filled up
    elif "decode_isolation" in config.parameters:
        # A library starts no processes in its caller's name.
        config.parameters["decode_isolation"].string_value = "none"
    try:
        return PythonModel(code.resolve(), name, config, folder)
    except (TritonModelException, ValueError) as error:
        raise ModelNotLoadedError(f"model {name} did not load: {error}") from error
