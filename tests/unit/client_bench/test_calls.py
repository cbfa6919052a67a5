"""What the benchmark reads out of an answer, and when it calls two answers for one image different."""

import dataclasses

import numpy as np
import pytest
from maskline_client.bench.calls import Answer, difference, read_answer
from tritonclient.grpc import InferResult, service_pb2

SLOTS, COUNT, POINTS = 4, 2, 17  # D, objects found, J


def result(*branches: str) -> InferResult:
    """An answer of `maskrcnn_raw` as it arrives, with the outputs of these branches."""
    tensors = {
        "num_detections": ("INT32", np.array([[COUNT]], np.int32)),
        "boxes": ("FP32", np.arange(4 * SLOTS, dtype=np.float32).reshape(1, SLOTS, 4)),
        "scores": ("FP32", np.linspace(0.9, 0.1, SLOTS, dtype=np.float32)[None]),
        "labels": ("INT32", np.zeros((1, SLOTS), np.int32)),
        "masks": ("FP32", np.ones((1, SLOTS, 6, 6), np.float32)),
        "keypoints": ("FP32", np.arange(SLOTS * POINTS * 3, dtype=np.float32).reshape(1, SLOTS, POINTS, 3)),
    }
    response = service_pb2.ModelInferResponse(model_name="maskrcnn_raw")
    for name, (dtype, array) in tensors.items():
        if name not in ("masks", "keypoints") or name in branches:
            response.outputs.add(name=name, datatype=dtype, shape=array.shape)
            response.raw_output_contents.append(array.tobytes())
    return InferResult(response)


@pytest.mark.parametrize("branches", [(), ("masks",), ("keypoints",), ("masks", "keypoints")], ids="-".join)
def test_an_answer_has_the_branches_of_the_model(branches: tuple[str, ...]) -> None:
    answer = read_answer(result(*branches))
    assert answer.num_detections == COUNT
    assert (None if answer.masks is None else answer.masks.shape) == ((COUNT, 6, 6) if "masks" in branches else None)
    np.testing.assert_array_equal(answer.mask_areas(), [36.0 if "masks" in branches else 0.0] * COUNT)
    shape = (COUNT, POINTS, 3) if "keypoints" in branches else None
    assert (None if answer.keypoints is None else answer.keypoints.shape) == shape
    assert difference(answer, read_answer(result(*branches))) == ""


def test_masks_of_an_older_release_are_not_taken_for_probabilities() -> None:
    """They were whole numbers of 255: their areas would be 255 times as large."""
    response = result("masks").get_response()
    place = [output.name for output in response.outputs].index("masks")
    response.outputs[place].datatype = "UINT8"
    response.raw_output_contents[place] = np.full((1, SLOTS, 6, 6), 255, np.uint8).tobytes()
    with pytest.raises(ValueError, match="output masks: got uint8, expected float32; client and server are of diff"):
        read_answer(InferResult(response))


def moved(answer: Answer, count: int, by_px: float) -> Answer:
    """The same answer with the first keypoints elsewhere."""
    assert answer.keypoints is not None
    points = answer.keypoints.copy()
    points.reshape(-1, 3)[:count, 0] += by_px
    return dataclasses.replace(answer, keypoints=points)


@pytest.mark.parametrize(
    ("count", "by_px", "text"),
    [
        (34, 0.03, ""),  # all of them within rounding
        (1, 50.0, ""),  # another cell was as probable
        (2, 50.0, "2 of 34 keypoints differ by more than 0.05 px"),  # more than 5%
        (34, 50.0, "34 of 34 keypoints differ by more than 0.05 px"),  # another image's answer
    ],
)
def test_keypoints_that_moved_are_noticed(count: int, by_px: float, text: str) -> None:
    first = read_answer(result("keypoints"))
    assert difference(first, moved(first, count, by_px)) == text


def test_keypoints_that_are_no_numbers_are_noticed() -> None:
    first = read_answer(result("keypoints"))
    assert difference(first, moved(first, 34, float("nan"))).startswith("34 of 34 keypoints differ")


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (("masks",), (), "boxes alone, masks at first"),
        ((), ("keypoints",), "keypoints, boxes alone at first"),
        (("masks",), ("masks", "keypoints"), "masks and keypoints, masks at first"),
    ],
    ids=["masks", "keypoints", "both"],
)
def test_a_branch_that_came_or_went_is_noticed(before: tuple[str, ...], after: tuple[str, ...], text: str) -> None:
    assert difference(read_answer(result(*before)), read_answer(result(*after))) == text
