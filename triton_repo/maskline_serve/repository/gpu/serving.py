"""What a GPU serves of an artifact, and how: cards, batch sizes, canvases to warm up, memory for the CUDA pool."""

from __future__ import annotations

import dataclasses
import enum
import json

from maskline_serve.errors import ArtifactError, RepositoryError
from maskline_serve.repository.artifact import Artifact, Stage
from maskline_serve.repository.canvas_sizes import Canvas, dims_on, request_canvases, tensor_bytes

# A convolution of ONNX Runtime plans anew for each shape, so batches are filled up to the next of these.
BATCH_SIZES = (1, 2, 4, 8)
# Batches whose tensors are alive at once: one that `backbone` writes, one in `proposal`, one in `mask`, one that waits.
# Beyond the pool they would silently go through memory of the host.
POOL_BATCHES = 4
# Types that ONNX Runtime's CUDA provider has kernels of for every node of ours.
PRECISIONS = ("fp32", "fp16")


class Decode(enum.StrEnum):
    """Where images are decoded and resized."""

    HOST = "host"
    DEVICE = "device"


@dataclasses.dataclass(frozen=True)
class GpuServing:
    """How the stages run.

    Attributes:
        cards: numbers of the GPUs; each has an instance of each stage.
        canvases: every canvas that a request can get.
        dtypes: tensor name -> dtype of the artifact, for every input and output of the stages.
        batch_bytes: what the largest batch hands from step to step.
        decode: where images are decoded.
    """

    cards: tuple[int, ...]
    canvases: tuple[Canvas, ...]
    dtypes: dict[str, str]
    batch_bytes: int
    decode: Decode

    def warm_up(self, stage: Stage) -> str:
        """The parameter `warm_up` of a stage: a JSON list, for each canvas the dims of its inputs for one image."""
        shapes = [{item.name: dims_on(item, canvas) for item in stage.inputs} for canvas in self.canvases]
        return json.dumps(list({json.dumps(each): each for each in shapes}.values()), separators=(",", ":"))


def cards_of(text: str | None) -> tuple[int, ...] | None:
    """Numbers of GPUs as a person lists them, "0,1".

    Raises:
        RepositoryError: not such a list, or one names a card twice.
    """
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() for part in parts) or len(set(parts)) < len(parts):
        raise RepositoryError(f"--gpus: got {text!r}, expected numbers of different cards, such as 0 or 0,1")
    return tuple(int(part) for part in parts)


def serving_of(artifact: Artifact, cards: tuple[int, ...], decode: Decode) -> GpuServing:
    """How a GPU serves an artifact.

    Raises:
        ArtifactError: it cannot; the text says what to export instead.
    """
    _check(artifact)
    canvases = tuple(request_canvases(artifact.preprocessing.canvases))
    tensors = {item.name: item for stage in artifact.stages.values() for item in (*stage.inputs, *stage.outputs)}
    largest = max(sum(tensor_bytes(item, canvas) for item in tensors.values()) for canvas in canvases)
    dtypes = {name: item.dtype for name, item in tensors.items()}
    return GpuServing(cards, canvases, dtypes, BATCH_SIZES[-1] * largest, decode)


def _check(artifact: Artifact) -> None:
    """Raise ArtifactError unless every node runs on a GPU, with shapes that come again."""
    multiple = artifact.preprocessing.canvas_multiple
    if artifact.bodies != "dense":
        raise ArtifactError(
            f"{artifact.folder}: got bodies {artifact.bodies!r}, expected 'dense', whose sizes do not hang on what is "
            "found: a GPU plans each new size anew; `maskline-export onnx CHECKPOINT ARTIFACT --bodies dense`"
        )
    if artifact.precision not in PRECISIONS:
        raise ArtifactError(
            f"{artifact.folder}: got precision {artifact.precision!r}, expected one of {', '.join(PRECISIONS)}, for "
            "which ONNX Runtime's CUDA provider has kernels; `maskline-export typed DENSE ARTIFACT --precision fp16`"
        )
    if multiple is not None:
        raise ArtifactError(
            f"{artifact.folder}: got canvas_multiple {multiple}, a canvas of its own for each image, expected a list "
            "of canvases, each of which is warmed up; serve it with --target cpu, or replace canvas_multiple by "
            "canvases in the checkpoint's model.json and export it again"
        )
