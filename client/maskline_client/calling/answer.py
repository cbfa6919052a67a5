"""One request and its answer: the tensors that are sent and asked for, and the `Detections` that come back.

Letters: D detections an image, J keypoints.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton
from tritonclient.utils import triton_to_np_dtype

from maskline_client.contract import ARTIFACT_PARAMETER, IMAGE, TensorSpec
from maskline_client.detections import Detections
from maskline_client.errors import ContractMismatch
from maskline_client.rle import MAX_PIXELS
from maskline_client.served_model import ServedModel, fit_shape, shape_text

_OTHER = "client and server are of different releases, or something between them changed the answer"
Outputs = Callable[[str], npt.NDArray[Any] | None]  # of one call by name, batch first; None where there is none


def request_inputs(image: bytes) -> list[triton.InferInput]:
    """The input tensors of one image file."""
    tensor = triton.InferInput(IMAGE.name, [1, *IMAGE.shape], IMAGE.dtype)
    tensor.set_data_from_numpy(np.array([[image]], dtype=np.object_))  # an "S" array would drop trailing zero bytes
    return [tensor]


def request_outputs(model: ServedModel) -> list[triton.InferRequestedOutput]:
    """The outputs to ask for: all that the model answers."""
    return [triton.InferRequestedOutput(spec.name) for spec in model.outputs]


def request_parameters(model: ServedModel) -> dict[str, str]:
    """Which model the request is meant for: a server with another one refuses it instead of answering."""
    return {ARTIFACT_PARAMETER: model.artifact} if model.artifact else {}


def parse_answer(output: Outputs, model: ServedModel) -> Detections:
    """One image's answer; padding rows are cut off.

    Raises:
        ContractMismatch: an output is missing, has another shape or type, or the rows do not make sense.
    """
    classes, sizes = model.classes, {"D": model.max_detections, "J": len(model.keypoint_names)}
    rows = {spec.name: _only_row(output, spec, sizes) for spec in model.outputs}
    count = int(rows["num_detections"][0])
    labels = rows["labels"][:count].astype(np.int32)
    if not 0 <= count <= len(rows["labels"]):
        raise ContractMismatch(f"num_detections: got {count}, expected 0 to {len(rows['labels'])}; {_OTHER}")
    if count and not (labels.min() >= 0 and labels.max() < len(classes)):
        raise ContractMismatch(
            f"labels: got {labels.min()} to {labels.max()}, expected 0 to {len(classes) - 1}; {_OTHER}"
        )
    rle = tuple(bytes(counts) for counts in rows["mask_rle"][:count]) if model.has_masks else None
    if rle is not None and not all(counts.isascii() for counts in rle):
        raise ContractMismatch(f"mask_rle: got bytes beyond ASCII, expected COCO's compressed counts; {_OTHER}")
    height, width = (int(side) for side in rows["image_size"])
    if min(height, width) < 1 or height * width > MAX_PIXELS:
        raise ContractMismatch(f"image_size: got {height} x {width}, expected 1 to {MAX_PIXELS} pixels; {_OTHER}")
    return Detections(
        boxes=rows["boxes"][:count].astype(np.float32),
        scores=rows["scores"][:count].astype(np.float32),
        labels=labels,
        names=tuple(classes[label] for label in labels),
        rle=rle,
        image_size=(height, width),
        keypoints=rows["keypoints"][:count].astype(np.float32) if model.keypoints else None,
        keypoint_names=model.keypoint_names,
        model=model.identity,
    )


def _only_row(output: Outputs, spec: TensorSpec, sizes: dict[str, int]) -> Any:
    """The tensor of the batch's only image; the letters of its shape must have the sizes known, and are noted."""
    try:
        array = output(spec.name)
    except (ValueError, TypeError, LookupError, struct.error) as error:  # tritonclient's, of bytes that do not fit
        reason = " ".join(str(error).split())
        raise ContractMismatch(
            f"output {spec.name}: got bytes that are no {spec.dtype} ({reason}); {_OTHER}"
        ) from error
    expected = (1, *spec.shape)
    if array is None or not fit_shape(array.shape, expected, sizes):
        got = "nothing" if array is None else f"shape {list(array.shape)}"
        raise ContractMismatch(f"output {spec.name}: got {got}, expected {shape_text(expected, sizes)}; {_OTHER}")
    if array.dtype != triton_to_np_dtype(spec.dtype):
        raise ContractMismatch(f"output {spec.name}: got {array.dtype}, expected {spec.dtype}; {_OTHER}")
    return array[0]
