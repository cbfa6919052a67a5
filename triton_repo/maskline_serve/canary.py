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

ENSEMBLE = "maskrcnn"
HEIGHT_PX, WIDTH_PX = 48, 64
OUTPUTS = ("num_detections", "boxes", "scores", "labels", "mask_rle", "image_size")


def jpeg() -> bytes:
    """A tiny JPEG, a grey ramp, the same on every machine."""
    ramp = np.linspace(0, 255, WIDTH_PX, dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.broadcast_to(ramp, (HEIGHT_PX, WIDTH_PX)).copy()).save(file, "JPEG")
    return file.getvalue()


def check(client: triton.InferenceServerClient, max_detections: int, num_classes: int, timeout_s: float) -> int:
    """Send the canary image and check the answer; returns the number of detections.

    Args:
        client: a gRPC client of the server.
        max_detections: D of the repository.
        num_classes: how many classes the labels may name.
        timeout_s: deadline of the call.

    Raises:
        ServerFailedError: no answer, or one that the wire contract rules out.
    """
    image = triton.InferInput("image", [1, 1], "BYTES")
    image.set_data_from_numpy(np.array([[jpeg()]], dtype=np.object_))
    outputs = [triton.InferRequestedOutput(name) for name in OUTPUTS]
    try:
        result = client.infer(ENSEMBLE, [image], outputs=outputs, client_timeout=timeout_s)
    except triton.InferenceServerException as error:
        raise ServerFailedError(
            f"canary image: {error.status()} {error.message()}; the server's log (--verbose) says why"
        ) from None
    answer = {name: result.as_numpy(name) for name in OUTPUTS}
    if wrong := problem(answer, max_detections, num_classes):
        raise ServerFailedError(f"canary image: {wrong}; check the repository with `maskline-serve doctor`")
    return int(answer["num_detections"][0, 0])


def problem(answer: dict[str, Any], max_detections: int, num_classes: int) -> str | None:
    """What is wrong with the answer, or None."""
    rows = (1, max_detections)
    shapes = {
        "num_detections": (1, 1),
        "boxes": (*rows, 4),
        "scores": rows,
        "labels": rows,
        "mask_rle": rows,
        "image_size": (1, 2),
    }
    for name, shape in shapes.items():
        if answer[name].shape != shape:
            return f"got {name} {list(answer[name].shape)}, expected {list(shape)}"
    size = answer["image_size"][0].tolist()
    if size != [HEIGHT_PX, WIDTH_PX]:
        return f"got image_size {size}, expected {[HEIGHT_PX, WIDTH_PX]}"
    count = int(answer["num_detections"][0, 0])
    boxes, scores, labels = answer["boxes"][0], answer["scores"][0], answer["labels"][0]
    if not 0 <= count <= max_detections:
        return f"got num_detections {count}, expected 0 to {max_detections}"
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        return "got boxes or scores that are not finite"
    if (boxes < 0).any() or (boxes[:, 0::2] > WIDTH_PX + 1e-2).any() or (boxes[:, 1::2] > HEIGHT_PX + 1e-2).any():
        return "got boxes outside the image"
    if (labels[count:] != -1).any() or (labels[:count] < 0).any() or (labels >= num_classes).any():
        return f"got labels outside 0..{num_classes - 1} (-1 in rows past num_detections)"
    filled = [len(counts) > 0 for counts in answer["mask_rle"][0]]
    if filled != [row < count for row in range(max_detections)]:
        return "got mask_rle that does not fit num_detections"
    return None
