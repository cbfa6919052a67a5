"""The wire contract: names, types and shapes of the served ensembles, as in docs/architecture.md.

Letters: D detections an image, M mask side, J keypoints, H W canvas. Shapes leave out the leading batch dimension.
"""

from __future__ import annotations

import dataclasses
from typing import Self

BATCH = -1  # how Triton's metadata writes a dimension that varies
LABELS_PARAMETER = "labels"  # of each ensemble: the class names, a JSON list
ARTIFACT_PARAMETER = "artifact_sha256"  # of each ensemble, and of requests: which artifact the model was made of
PRECISION_PARAMETER = "precision"  # of each ensemble: what its stages compute in
RELEASE_PARAMETER = "maskline"  # of each ensemble: the release that assembled it
REVISION_PARAMETER = "revision"  # of each ensemble: another one wherever anything that decides answers differs
KEYPOINTS_PARAMETER = "keypoints"  # of each ensemble with keypoints: their names, flip pairs and sigmas, a JSON object
DEFAULT_MODEL = "maskrcnn"  # what a served model is called where its repository was given no other name
RAW_KIND, ENGINES_KIND = "_raw", "_engines"  # what follows a model's name in those of two of its ensembles
# What the steps of the ensembles are. A server calls them WORD-TAG, or WORD alone in repositories of earlier releases.
STEPS = (
    "preprocess",
    "backbone",
    "proposal",
    "mask",
    "keypoint",
    "postprocess",
    "postprocess_raw",
    "postprocess_boxes",
)


def word_of(model: str) -> str:
    """What a step is, e.g. `backbone` of `backbone-1f0c6b3ad2e9`; all of a name without a tag."""
    return model.rpartition("-")[0] or model


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """One tensor on the wire.

    Attributes:
        name: as on the wire.
        dtype: as Triton writes it, e.g. "FP32".
        shape: without the batch dimension; a letter is a size the server chooses, the same everywhere in an ensemble.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclasses.dataclass(frozen=True)
class EnsembleSpec:
    """The inputs and outputs of one ensemble.

    Attributes:
        name: of the ensemble, where its model has the default name.
        inputs: all of them.
        outputs: of a model with masks and keypoints.
        optional: those of the outputs that a model without that branch lacks.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    optional: tuple[TensorSpec, ...]

    def named(self, model: str) -> Self:
        """The same ensemble of a model with another name: `nuclei_raw` for `maskrcnn_raw`."""
        return dataclasses.replace(self, name=model + self.name.removeprefix(DEFAULT_MODEL))


IMAGE = TensorSpec("image", "BYTES", (1,))
CANVAS = TensorSpec("canvas", "UINT8", ("H", "W", 3))
IMAGE_INFO = TensorSpec("image_info", "FP32", (6,))
NUM_DETECTIONS = TensorSpec("num_detections", "INT32", (1,))
BOXES = TensorSpec("boxes", "FP32", ("D", 4))
SCORES = TensorSpec("scores", "FP32", ("D",))
LABELS = TensorSpec("labels", "INT32", ("D",))
MASK_RLE = TensorSpec("mask_rle", "BYTES", ("D",))
MASKS = TensorSpec("masks", "FP32", ("D", "M", "M"))
KEYPOINTS = TensorSpec("keypoints", "FP32", ("D", "J", 3))
IMAGE_SIZE = TensorSpec("image_size", "INT32", (2,))

_OBJECTS = (NUM_DETECTIONS, BOXES, SCORES, LABELS)

MASKRCNN = EnsembleSpec("maskrcnn", (IMAGE,), (*_OBJECTS, MASK_RLE, KEYPOINTS, IMAGE_SIZE), (MASK_RLE, KEYPOINTS))
MASKRCNN_RAW = EnsembleSpec("maskrcnn_raw", (IMAGE,), (*_OBJECTS, MASKS, KEYPOINTS, IMAGE_SIZE), (MASKS, KEYPOINTS))
MASKRCNN_ENGINES = EnsembleSpec(
    "maskrcnn_engines", (CANVAS, IMAGE_INFO), (*_OBJECTS, MASKS, KEYPOINTS), (MASKS, KEYPOINTS)
)
MASKRCNN_BOXES = EnsembleSpec("maskrcnn_boxes", (IMAGE,), (*_OBJECTS, IMAGE_SIZE), ())
ENSEMBLES = (MASKRCNN, MASKRCNN_RAW, MASKRCNN_ENGINES, MASKRCNN_BOXES)
