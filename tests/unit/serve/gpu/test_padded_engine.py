"""Batches of a few sizes, filled up: real sessions on the CPU, by the code that runs on a GPU but for the memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx.parser
import onnxruntime as ort
import pytest
from support.serving import model_files

padded = model_files.load("backends/onnxruntime/padded_engine.py")
memory = model_files.load("backends/onnxruntime/device_memory.py")
tensors = model_files.load("backends/onnxruntime/device_tensors.py")

# Looks values up in a table of two: any other index makes a whole run fail.
LOOK_UP = """<ir_version: 10, opset_import: ["" : 20]>
look_up (int64[B,N] index, float16[B] offset) => (float[B,N] value, float16[B] same) {
    table = Constant <value = float[2] {5.0, 6.0}> ()
    value = Gather (table, index)
    same = Identity (offset)
}"""


class Counted:
    """A real session that also remembers the batch sizes it ran."""

    def __init__(self) -> None:
        self.session = ort.InferenceSession(onnx.parser.parse_model(LOOK_UP).SerializeToString())
        self.get_inputs, self.get_outputs = self.session.get_inputs, self.session.get_outputs
        self.io_binding, self.batches = self.session.io_binding, []

    def run_with_iobinding(self, binding: Any) -> None:
        try:
            self.session.run_with_iobinding(binding)
        except Exception:
            self.batches.append(None)
            raise
        self.batches.append(binding.get_outputs()[0].shape()[0])


class Watched(memory.HostMemory):  # type: ignore[name-defined,misc]
    """Memory of the host that counts what is copied into it, and what is taken."""

    def __init__(self) -> None:
        self.copies, self.taken = 0, []

    def put(self, block: Any, at: int, source: Any) -> None:
        self.copies += 1
        super().put(block, at, source)

    def allocate(self, size_bytes: int) -> Any:
        self.taken.append(size_bytes)
        return super().allocate(size_bytes)


def feed(*rows: list[int]) -> dict[str, Any]:
    """A request; its offset tells its rows from those of others."""
    offset = np.arange(len(rows), dtype=np.float16) + 10 * len(rows)
    return {"index": tensors.of_array(np.array(rows, np.int64)), "offset": tensors.of_array(offset)}


def engine(place: Any = None) -> tuple[Any, Counted]:
    counted = Counted()
    return padded.PaddedEngine(dict.fromkeys((1, 2, 4, 8), counted), ["same", "value"], place or Watched()), counted


def arrays(answer: Any) -> list[Any]:
    assert not isinstance(answer, Exception), answer
    return [tensors.array_of(tensor).tolist() for tensor in answer]


def test_requests_are_joined_filled_up_and_come_back_apart() -> None:
    made, counted = engine()
    answers = made.run([feed([0, 1]), feed([1, 1], [0, 0], [1, 0]), feed([0, 0])])
    assert counted.batches == [8]  # five images
    assert [arrays(answer) for answer in answers] == [
        [[10.0], [[5, 6]]],
        [[30.0, 31.0, 32.0], [[6, 6], [5, 5], [6, 5]]],
        [[10.0], [[5, 5]]],
    ]


@pytest.mark.parametrize(("images", "size"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (8, 8)])
def test_a_batch_takes_the_next_size(images: int, size: int) -> None:
    made, counted = engine()
    (answer,) = made.run([feed(*([1] for _ in range(images)))])
    assert counted.batches == [size]
    assert arrays(answer)[1] == [[6]] * images


def test_a_request_that_fits_is_not_copied() -> None:
    place = Watched()
    made, _ = engine(place)
    made.run([feed([0], [1])])
    assert (place.copies, place.taken) == (0, [])
    made.run([feed([0], [1], [1])])
    assert place.copies == 4  # two inputs, and the image that fills up


def test_other_shapes_run_apart_and_keep_their_order() -> None:
    made, counted = engine()
    answers = made.run([feed([0]), feed([0, 1]), feed([1]), feed([1, 1])])
    assert counted.batches == [2, 2]
    assert [arrays(answer)[1] for answer in answers] == [[[5]], [[5, 6]], [[6]], [[6, 6]]]


def test_a_request_that_fails_fails_alone() -> None:
    made, counted = engine()
    answers = made.run([feed([0]), feed([7]), feed([1], [1], [0])])
    assert counted.batches == [None, 1, None, 4]
    assert "index" in str(answers[1]) or "indices" in str(answers[1])
    assert [arrays(answer)[1] for answer in (answers[0], answers[2])] == [[[5]], [[6], [6], [5]]]


def test_what_failed_does_not_stay_to_fill_up_the_next_batch() -> None:
    made, _ = engine()
    made.run([feed([0], [0], [0]), feed([7])])  # leaves 7 in the fourth row
    (answer,) = made.run([feed([1], [1], [1])])
    assert arrays(answer)[1] == [[6]] * 3


def test_too_many_images_are_refused() -> None:
    (answer,) = engine()[0].run([feed(*([0] for _ in range(9)))])
    assert str(answer) == "got 9 images in one batch, expected at most 8"


def test_another_type_than_the_models_is_refused() -> None:
    wrong = {**feed([0]), "offset": tensors.of_array(np.zeros(1, np.float32))}
    (answer,) = engine()[0].run([wrong])
    assert str(answer) == "input offset: got float32, expected float16"


def test_every_size_on_every_canvas_is_warmed_up_and_memory_taken_once() -> None:
    place, said = Watched(), []
    made, counted = engine(place)
    made.warm_up([{"index": [3], "offset": []}, {"index": [2], "offset": []}], said.append)
    assert counted.batches == [8, 4, 2, 1, 8, 4, 2, 1]
    assert place.taken == [8 * 3 * 8, 8 * 2]
    assert said[0].startswith("warmed up 2 canvases in batches of 1, 2, 4, 8 on cpu: ")
    made.run([feed([0, 0, 1], [0, 0, 1], [0, 0, 1])])
    assert len(place.taken) == 2


def test_answers_outlive_the_next_run() -> None:
    made, _ = engine()
    (first,) = made.run([feed([0], [1], [1])])
    made.run([feed([1], [0], [0])])
    assert arrays(first)[1] == [[5], [6], [6]]
