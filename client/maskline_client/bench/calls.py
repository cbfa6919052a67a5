"""One timed call of the served model: file bytes in hand to numpy arrays in hand.

Letters: N objects found in an image, M mask side, J keypoints.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from maskline_client import contract, rle
from maskline_client.bench.images import BenchImage
from maskline_client.connection import Connection

# Another batch size may sum in another order; a wrong answer is off by whole pixels, classes or masks.
BOX_TOLERANCE_PX = 0.05
SCORE_TOLERANCE = 1e-3
AREA_TOLERANCE = 0.02  # of the mask's area, and always the few pixels that lie on the threshold
AREA_SLACK_PX = 8.0
MOVED_SHARE = 0.05  # of the keypoints, and always one: a cell nearly as probable as the best one may win


@dataclasses.dataclass(frozen=True)
class Answer:
    """The detections of one image, padding rows cut off.

    Attributes:
        boxes: [N, 4] float32 xyxy, px of the original image.
        scores: [N] float32.
        labels: [N] int32.
        masks: [N] bytes (COCO compressed counts), or [N, M, M] float32 probabilities of `maskrcnn_raw`; None of a model
            without masks.
        keypoints: [N, J, 3] float32 x, y (px of the original image), probability; None of a model without keypoints.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int32]
    masks: NDArray[Any] | None
    keypoints: NDArray[np.float32] | None = None

    @property
    def num_detections(self) -> int:
        """N, the number of objects found."""
        return len(self.labels)

    def branches(self) -> str:
        """What comes with the boxes, in words."""
        given = {"masks": self.masks, "keypoints": self.keypoints}
        return " and ".join(name for name, array in given.items() if array is not None) or "boxes alone"

    def mask_areas(self) -> NDArray[np.float64]:
        """[N] pixels of each mask: of the original image, or cells of the M x M grid; 0 without masks."""
        if self.masks is None:
            return np.zeros(self.num_detections)
        if self.masks.ndim == 1:
            return np.array([rle.area(mask) for mask in self.masks], dtype=np.float64)
        return np.asarray(self.masks.sum(axis=(1, 2), dtype=np.float64))


@dataclasses.dataclass(frozen=True)
class Call:
    """One answered request.

    Attributes:
        answer: what came back.
        latency_ms: from file bytes in hand to arrays in hand.
        send_us: the part spent on building the request.
        receive_us: the part spent on reading the arrays out of the answer.
    """

    answer: Answer
    latency_ms: float
    send_us: float
    receive_us: float


def connect(url: str, timeout_s: float) -> Any:
    """A `tritonclient.grpc.InferenceServerClient` set up as the library's own, but without retries.

    Raises:
        ValueError: not host:port.
    """
    return triton.InferenceServerClient(**Connection(url, timeout_s, retries=0).client_arguments())


def make_request(image: BenchImage) -> list[Any]:
    """The ensemble's input `image`, batch of one."""
    tensor = triton.InferInput(contract.IMAGE.name, [1, 1], contract.IMAGE.dtype)
    tensor.set_data_from_numpy(np.array([[image.data]], dtype=np.object_))
    return [tensor]


def read_answer(result: Any) -> Answer:
    """Read the detections out of a `tritonclient.grpc.InferResult` of a batch of one.

    Raises:
        ValueError: an output of the contract is missing or of another type; the text names it.
    """
    masks = result.as_numpy(contract.MASK_RLE.name)
    if masks is None:
        masks = result.as_numpy(contract.MASKS.name)
        if masks is not None and masks.dtype != np.float32:
            text = f"output {contract.MASKS.name}: got {masks.dtype}, expected float32"
            raise ValueError(f"{text}; client and server are of different releases")
    keypoints = result.as_numpy(contract.KEYPOINTS.name)
    count = int(_read(result, contract.NUM_DETECTIONS).reshape(-1)[0])
    boxes, scores, labels = (
        _read(result, tensor)[0, :count] for tensor in (contract.BOXES, contract.SCORES, contract.LABELS)
    )
    branches = (None if array is None else array[0, :count] for array in (masks, keypoints))
    return Answer(boxes, scores, labels, *branches)


def _read(result: Any, tensor: contract.TensorSpec) -> NDArray[Any]:
    """One output with its batch dimension."""
    array: NDArray[Any] | None = result.as_numpy(tensor.name)
    if array is None:
        raise ValueError(f"answer without output {tensor.name}, expected an ensemble of the wire contract")
    return array


class Caller:
    """One connection that calls the model, one request at a time; never retries, so that failures show."""

    def __init__(self, url: str, model: str, timeout_s: float) -> None:
        self._client = connect(url, timeout_s)
        self._model = model
        self._timeout_s = timeout_s

    def call(self, image: BenchImage) -> Call:
        """Send one image and wait.

        Raises:
            InferenceServerException: the server refused, failed or did not answer within the deadline.
            ValueError: the answer is not of the wire contract.
        """
        start = time.perf_counter_ns()
        inputs = self._request(image)
        sent = time.perf_counter_ns()
        result = self._client.infer(self._model, inputs, client_timeout=self._timeout_s)
        received = time.perf_counter_ns()
        answer = read_answer(result)
        end = time.perf_counter_ns()
        return Call(answer, (end - start) / 1e6, (sent - start) / 1e3, (end - received) / 1e3)

    def _request(self, image: BenchImage) -> list[Any]:
        return make_request(image)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def error_text(error: InferenceServerException) -> str:
    """Status and first line of an error, short enough to be counted by."""
    lines = str(error.message()).strip().splitlines()
    return f"{error.status()}: {lines[0][:160] if lines else ''}"


def difference(first: Answer, second: Answer) -> str:
    """How two answers for the same image differ beyond tolerance, in words; empty when they agree."""
    if first.num_detections != second.num_detections:
        return f"{second.num_detections} detections, {first.num_detections} at first"
    if first.branches() != second.branches():
        return f"{second.branches()}, {first.branches()} at first"
    if first.num_detections == 0:
        return ""
    if (first.labels != second.labels).any():
        return f"{int((first.labels != second.labels).sum())} labels differ"
    box_error = float(np.abs(first.boxes - second.boxes).max())
    if box_error > BOX_TOLERANCE_PX:
        return f"boxes differ by up to {box_error:.3g} px"
    score_error = float(np.abs(first.scores - second.scores).max())
    if score_error > SCORE_TOLERANCE:
        return f"scores differ by up to {score_error:.3g}"
    if first.keypoints is not None and second.keypoints is not None:
        near = np.abs(first.keypoints - second.keypoints)[..., :2] <= BOX_TOLERANCE_PX
        moved = ~near.all(axis=-1)  # a NaN is near nothing
        if moved.sum() > max(1, MOVED_SHARE * moved.size):
            return f"{int(moved.sum())} of {moved.size} keypoints differ by more than {BOX_TOLERANCE_PX} px"
    areas = first.mask_areas()
    area_error = np.abs(areas - second.mask_areas())
    if (area_error > AREA_TOLERANCE * areas + AREA_SLACK_PX).any():
        return f"mask areas differ by up to {area_error.max():.3g} px"
    return ""
