"""One real image through the whole ensemble: the only proof that a server serves.

Readiness alone is not enough: a Python stub that crashed stays "ready" in release 24.10.

Letters: D detections an image.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image
from tritonclient import grpc as triton

from maskline_serve.errors import ServerFailedError
from maskline_serve.repository.on_disk import Repository

HEIGHT_PX, WIDTH_PX = 48, 64
DEADLINE_S = 60.0  # of one canary to a server that has started: many requests may stand before it


def jpeg() -> bytes:
    """A tiny JPEG, a grey ramp, the same on every machine."""
    ramp = np.linspace(0, 255, WIDTH_PX, dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.broadcast_to(ramp, (HEIGHT_PX, WIDTH_PX)).copy()).save(file, "JPEG")
    return file.getvalue()


def shapes(repository: Repository) -> dict[str, tuple[int, ...]]:
    """The outputs that a repository's ensemble has for one image, and their shapes."""
    rows = (1, repository.max_detections)
    found = {
        "num_detections": (1, 1),
        "boxes": (*rows, 4),
        "scores": rows,
        "labels": rows,
        "image_size": (1, 2),
    }
    if repository.mask_side is not None:
        found["mask_rle"] = rows
    if repository.keypoints:
        found["keypoints"] = (*rows, len(repository.keypoints), 3)
    return found


def check(
    client: triton.InferenceServerClient, repository: Repository, timeout_s: float, ensemble: str | None = None
) -> int:
    """Send the canary image and check the answer; returns the number of detections.

    Args:
        client: a gRPC client of the server.
        repository: what it serves.
        timeout_s: deadline of the call.
        ensemble: which one to ask, that of the repository's own name if none is given.

    Raises:
        ServerFailedError: no answer, or one that the wire contract rules out.
    """
    image = triton.InferInput("image", [1, 1], "BYTES")
    image.set_data_from_numpy(np.array([[jpeg()]], dtype=np.object_))
    names = tuple(shapes(repository))
    try:
        outputs = [triton.InferRequestedOutput(name) for name in names]
        result = client.infer(ensemble or repository.name, [image], outputs=outputs, client_timeout=timeout_s)
    except triton.InferenceServerException as error:
        raise ServerFailedError(
            f"canary image: {error.status()} {error.message()}; the server's log (--verbose) says why"
        ) from None
    answer = {name: result.as_numpy(name) for name in names}
    if wrong := problem(answer, repository):
        raise ServerFailedError(f"canary image: {wrong}; check the repository with `maskline-serve doctor`")
    return int(answer["num_detections"][0, 0])


def problem(answer: dict[str, Any], repository: Repository) -> str | None:
    """What is wrong with the answer, or None."""
    for name, shape in shapes(repository).items():
        if answer[name].shape != shape:
            return f"got {name} {list(answer[name].shape)}, expected {list(shape)}"
    size = answer["image_size"][0].tolist()
    if size != [HEIGHT_PX, WIDTH_PX]:
        return f"got image_size {size}, expected {[HEIGHT_PX, WIDTH_PX]}"
    count = int(answer["num_detections"][0, 0])
    if not 0 <= count <= repository.max_detections:
        return f"got num_detections {count}, expected 0 to {repository.max_detections}"
    return _wrong_boxes(answer, count, len(repository.classes)) or _wrong_branches(answer, count)


def _wrong_boxes(answer: dict[str, Any], count: int, num_classes: int) -> str | None:
    boxes, scores, labels = answer["boxes"][0], answer["scores"][0], answer["labels"][0]
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        return "got boxes or scores that are not finite"
    if (boxes < 0).any() or (boxes[:, 0::2] > WIDTH_PX + 1e-2).any() or (boxes[:, 1::2] > HEIGHT_PX + 1e-2).any():
        return "got boxes outside the image"
    if (labels[count:] != -1).any() or (labels[:count] < 0).any() or (labels >= num_classes).any():
        return f"got labels outside 0..{num_classes - 1} (-1 in rows past num_detections)"
    return None


def _wrong_branches(answer: dict[str, Any], count: int) -> str | None:
    if "mask_rle" in answer:
        filled = [len(counts) > 0 for counts in answer["mask_rle"][0]]
        if filled != [row < count for row in range(len(filled))]:
            return "got mask_rle that does not fit num_detections"
    if "keypoints" in answer:
        keypoints = answer["keypoints"][0]
        if not np.isfinite(keypoints).all() or keypoints[count:].any():
            return "got keypoints that are not finite, or not zero in rows past num_detections"
    return None
