"""Ours without a server: the steps of the ensemble in this process, several images in one call of a stage.

Letters: B images of a call, D detections an image at most.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
from maskline_export.engine.run_engine import TensorRTStages
from maskline_export.engine.to_engine import Request, build_engines
from maskline_export.manifest import load_artifact
from maskline_serve.local.backend_utils import InferenceRequest
from maskline_serve.local.python_model import PythonModel
from maskline_serve.repository.assemble import assemble
from maskline_serve.repository.config import parse
from maskline_serve.repository.names import word_of
from maskline_serve.repository.on_disk import STAGES, Repository

from maskline_bench.errors import BenchmarkError
from maskline_bench.serving.eager import Found

ANSWERS = ("boxes", "scores", "labels", "num_detections", "masks")  # of the stages
Arrays = dict[str, npt.NDArray[Any]]
Stages = Callable[[Arrays], Arrays]


class InProcess:
    """Decoding and encoding by the code that a server runs, the stages by whatever is given."""

    def __init__(self, artifact: Path, folder: Path, stages: Stages) -> None:
        """Load the steps.

        Args:
            artifact: of the model, for its sizes.
            folder: where a repository of it is written.
            stages: all stages: canvas and image_info in, ANSWERS out, as the stages name them.
        """
        assemble(artifact, folder)
        repository = Repository.load(folder)
        path = repository.models / repository.name / "config.pbtxt"
        steps = parse(path.read_text("utf-8"), path).ensemble_scheduling.step
        self._steps = {word_of(step.model_name): step for step in steps}
        self._first, self._last = (_load(repository, name) for name in ("preprocess", "postprocess"))
        self._stages = stages

    def __enter__(self) -> InProcess:
        """Nothing more to do."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the steps."""
        self._first.close()
        self._last.close()

    def detect(self, files: Sequence[bytes]) -> list[Found]:
        """What is found in each file; files of one canvas go through the stages together."""
        prepared = [self._step(self._first, "preprocess", {"image": np.array([[file]], np.object_)}) for file in files]
        by_canvas: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, tensors in enumerate(prepared):
            by_canvas[tensors["canvas"].shape].append(index)
        found: dict[int, Found] = {}
        for indices in by_canvas.values():
            batch = {name: np.concatenate([prepared[i][name] for i in indices]) for name in prepared[indices[0]]}
            given = {name: batch[name] for name in ("canvas", "image_info")}
            answers = self._step(self._last, "postprocess", batch | self._renamed(self._stages(given)))
            answers["image_size"] = batch["image_size"]
            found.update({index: _found(answers, row) for row, index in enumerate(indices)})
        return [found[index] for index in range(len(files))]

    def _renamed(self, tensors: Arrays) -> Arrays:
        """The stages' tensors by the ensemble's names."""
        names: dict[str, str] = {}
        for stage in STAGES:
            if stage in self._steps:
                names |= self._steps[stage].output_map
        return {names[name]: tensor for name, tensor in tensors.items()}

    def _step(self, model: PythonModel, name: str, tensors: Arrays) -> Arrays:
        """A step's outputs by the ensemble's names."""
        step = self._steps[name]
        given = {inner: tensors[outer] for inner, outer in step.input_map.items()}
        response = model.execute(InferenceRequest(given))
        if response.error is not None:
            raise BenchmarkError(f"{name}: {response.error.message()}")
        return {outer: response.outputs[inner] for inner, outer in step.output_map.items()}


def built_engines(artifact: Path, folder: Path) -> Stages:
    """The engines of an artifact, built on this machine, as one call.

    Raises:
        EngineBuildError: no TensorRT, no GPU, or it does not build them.
    """
    build_engines(Request(artifact, folder, load_artifact(artifact).precision))
    engines = TensorRTStages(folder)

    def run(given: Arrays) -> Arrays:
        found = engines.run_all(given)
        return {name: found[name] for name in ANSWERS}

    return run


def _load(repository: Repository, name: str) -> PythonModel:
    folder = repository.model(name)
    path = folder / "config.pbtxt"
    return PythonModel((folder / "1").resolve(), folder.name, parse(path.read_text("utf-8"), path), folder)


def _found(answers: Arrays, row: int) -> Found:
    count, size = int(answers["num_detections"][row, 0]), answers["image_size"][row].tolist()
    masks = [{"size": size, "counts": bytes(counts)} for counts in answers["mask_rle"][row, :count]]
    boxes, scores, labels = (answers[name][row, :count] for name in ("boxes", "scores", "labels"))
    return Found(boxes, scores, labels.astype(np.int64), masks)
