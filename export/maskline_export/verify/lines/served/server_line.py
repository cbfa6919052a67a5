"""A running server: its answers by our client, and its stages where its inner models can be called."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterable, Iterator

import numpy as np
import tritonclient.grpc as triton
from maskline_client.connection import Connection
from maskline_client.contract import MASKRCNN, word_of
from maskline_client.detector import Detector
from maskline_client.errors import ClientError
from maskline_train.evaluation.paste import Rle
from maskline_train.spec import ModelSpec

from maskline_export.errors import ContractError
from maskline_export.manifest import Precision
from maskline_export.verify.lines.found import Answer, Array, Found, Given, Picture
from maskline_export.verify.lines.stage_line import StageLine
from maskline_export.verify.onnx_runtime import STAGES, Tensors

_HALF = "FP16"
_PREPROCESS, _POSTPROCESS = "preprocess", "postprocess"


def served_artifact(url: str) -> str:
    """What the server says it serves: the hash of an artifact's manifest; empty where it does not say.

    Raises:
        ContractError: there is no server, or not one that our client can read.
    """
    with _as_export_error(), Detector(url) as detector:
        return detector.model.artifact


class ServerLine:
    """What a server answers to picture files; how its models are called is that of docs/architecture.md.

    Args:
        url: host:port of its gRPC endpoint.
        precision: of what it serves: decides the limits.
        spec: of the model that it should serve.
        note: what else its title is to say; nothing where it is empty.

    Raises:
        ContractError: there is no server, or not one that our client can read.
    """

    def __init__(self, url: str, precision: Precision, spec: ModelSpec, note: str = "") -> None:
        self.precision = precision
        self._connection, self._detector = Connection(url), Detector(url)
        self._client = triton.InferenceServerClient(**self._connection.client_arguments())
        self._models = {word_of(model): model for model in self._steps() if self._is_there(model)}
        steps = [name for name in (_PREPROCESS, *STAGES, _POSTPROCESS) if name in self._models]
        self._types = {name: self._inputs(name) for name in steps}
        self._stages: StageLine | None = None
        if {_PREPROCESS, "backbone", "proposal", _POSTPROCESS} <= set(steps):
            stages = tuple(name for name in STAGES if name in steps)
            self._stages = StageLine("", precision, stages, self._run, spec)
        hidden = "" if self._stages else "answers alone: it hides its stages"
        self.title = ", ".join(filter(None, (f"server {url}: {precision}", note, hidden)))

    def answer(self, picture: Picture) -> Answer:
        """What the ensemble answers to the picture's file."""
        with _as_export_error():
            found = self._detector.detect(picture.encoded())
        masks = None if found.rle is None else _rles(found.rle, found.image_size)
        labels = found.labels.astype(np.int64)
        return Answer(found.boxes, found.scores, labels, masks, found.keypoints, self._detector.classes)

    def find(self, given: Given) -> Found:
        """What the ensemble answers, and where they can be called what its models make of the reference's inputs."""
        answer = self.answer(given.picture)
        if self._stages is None:
            return Found(answer)
        return dataclasses.replace(
            self._stages.find(given),
            answer=answer,
            canvas=self._preprocessed(given.picture),
            placed=self._placed(given),
        )

    def _steps(self) -> list[str]:
        """The models that the ensemble runs, by the names that its configuration has for them."""
        config = self._client.get_model_config(MASKRCNN.name, client_timeout=self._connection.deadline_s).config
        return [step.model_name for step in config.ensemble_scheduling.step]

    def _is_there(self, model: str) -> bool:
        """Whether an inner model can be called; a proxy in front of the server may let ensembles pass alone."""
        with contextlib.suppress(triton.InferenceServerException):
            return bool(self._client.is_model_ready(model, client_timeout=self._connection.deadline_s))
        return False

    def _inputs(self, step: str) -> dict[str, str]:
        """Name and type of each input."""
        metadata = self._client.get_model_metadata(self._models[step], client_timeout=self._connection.deadline_s)
        return {tensor.name: tensor.datatype for tensor in metadata.inputs}

    def _preprocessed(self, picture: Picture) -> Array:
        tensor = triton.InferInput("image", [1, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[picture.encoded()]], np.object_))
        return self._infer(_PREPROCESS, [tensor])["canvas"]

    def _placed(self, given: Given) -> Answer:
        """The reference's detections at the size of the picture."""
        found = self._run(_POSTPROCESS, given.detections)
        count = int(found["num_detections"][0, 0])
        rles = found["mask_rle"][0, :count].tolist() if "mask_rle" in found else None
        masks = None if rles is None else _rles(rles, given.picture.size)
        boxes, scores, labels = (found[name][0, :count] for name in ("boxes", "scores", "labels"))
        points = found["keypoints"][0, :count] if "keypoints" in found else None
        return Answer(boxes, scores, labels, masks, points)  # type: ignore[arg-type]

    def _run(self, stage: str, tensors: Tensors) -> Tensors:
        """A stage by its name; 16-bit features go in rounded and come back as float32."""
        inputs = []
        for name, kind in self._types[stage].items():
            array = np.ascontiguousarray(tensors[name])
            tensor = triton.InferInput(name, list(array.shape), kind)
            tensor.set_data_from_numpy(array.astype(np.float16) if kind == _HALF else array)  # rounds to BF16 itself
            inputs.append(tensor)
        found = self._infer(stage, inputs)
        return {name: array.astype(np.float32) if array.dtype == np.float16 else array for name, array in found.items()}

    def _infer(self, step: str, inputs: list[triton.InferInput]) -> Tensors:
        start = time.monotonic()
        with _as_export_error():
            try:
                result = self._client.infer(self._models[step], inputs, client_timeout=self._connection.left_s(start))
            except triton.InferenceServerException as failure:
                raise self._connection.error(failure) from failure
        return {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}


def _rles(counts: Iterable[bytes], size: tuple[int, int]) -> tuple[Rle, ...]:
    return tuple(Rle(size=list(size), counts=text) for text in counts)


@contextlib.contextmanager
def _as_export_error() -> Iterator[None]:
    """The client's failures as one line of this command, with its status."""
    try:
        yield
    except ClientError as error:
        raise ContractError(f"--url: {error}") from error
