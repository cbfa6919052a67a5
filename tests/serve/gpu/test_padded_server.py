"""The target onnxruntime-gpu in the real Triton server, on CPU sessions: the path of a GPU but for the device."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from maskline_export.manifest import load_artifact
from maskline_export.verify.images import ladder_images
from maskline_serve.errors import ModelNotLoadedError
from maskline_serve.repository.assemble import assemble
from maskline_serve.server.triton_server import TritonServer
from serve import standin
from serve.backend.test_in_process import CONFIG, MODEL, at_once, executions, served, with_only
from serve.conftest import Pending, send
from serve.gpu.conftest import on_the_cpu
from serve.same_answer import check_answers, png
from serve.test_batches import check_row
from serve.test_server import START_S, wait_until
from support.served_models import model_of, name_of
from tritonclient import grpc as triton

pytestmark = pytest.mark.triton

D = standin.SPEC.box_head.max_detections


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def padded(dense_standin: Path, tmp_path_factory: pytest.TempPathFactory, said: list[str]) -> Iterator[TritonServer]:
    folder = on_the_cpu(dense_standin, tmp_path_factory.mktemp("padded") / "repository")
    with TritonServer(folder, drain_s=5, show=said.append) as running:
        yield running


@pytest.fixture
def client(padded: TritonServer) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(padded.grpc_url) as connected:
        yield connected


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 7, 8])
def test_every_slot_of_a_filled_up_batch_is_its_own_images(client: triton.InferenceServerClient, batch: int) -> None:
    counts = [(0, 1, D)[slot % 3] for slot in range(batch)]
    answer = send(client, [standin.picture(count, (40, 80)) for count in counts])
    for slot, count in enumerate(counts):
        check_row(answer, slot, count, (40, 80))


def test_requests_of_all_canvases_at_once_each_get_their_own_answer(client: triton.InferenceServerClient) -> None:
    asked = [(count, size) for count in (0, 1, 5, D) for size in ((40, 80), (80, 40), (60, 60))]
    pending = [Pending(client, [standin.picture(count, size)]) for count, size in asked]
    for (count, size), each in zip(asked, pending, strict=True):
        check_row(each.answer(), 0, count, size)


def test_every_stage_says_what_was_warmed_up(padded: TritonServer, said: list[str]) -> None:
    for name in ("backbone", "proposal", "mask"):
        warmed = f"{name_of(padded.repository.folder, name)}: warmed up 3 canvases in batches of 1, 2, 4, 8 on cpu: "
        assert len([line for line in said if line.startswith(warmed)]) == 1, said


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (
            '\\"boxes\\":[100,4]',
            '\\"boxes\\":[99,4]',
            r"model mask-\w{12} did not load: .*: mask-\w{12}: warm-up: a batch of 8 of .*'boxes'",
        ),
        ('"warm_up" value: { string_value: "[', '"warm_up" value: { string_value: "(', "parameter warm_up: got '\\("),
    ],
)
def test_a_warm_up_that_fails_keeps_the_server_from_being_ready(
    dense: Path, tmp_path: Path, old: str, new: str, text: str
) -> None:
    config = model_of(on_the_cpu(dense, tmp_path / "repository"), "mask") / "config.pbtxt"
    assert old in config.read_text(encoding="utf-8")
    config.write_text(config.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(ModelNotLoadedError, match=text), TritonServer(tmp_path / "repository", drain_s=1):
        pass


@pytest.mark.parametrize("sessions", ["shared", pytest.param("each", marks=pytest.mark.long)])
def test_answers_are_those_of_the_target_cpu_byte_for_byte(dense: Path, tmp_path: Path, sessions: str) -> None:
    assemble(dense, tmp_path / "cpu")
    folder = on_the_cpu(dense, tmp_path / "gpu", sessions)
    pictures = [png(pixels) for _, pixels in ladder_images(load_artifact(dense).spec.preprocessing.shorter_side_px)]
    answers = []
    for repository in (tmp_path / "cpu", folder):
        with TritonServer(repository, drain_s=5) as server, triton.InferenceServerClient(server.grpc_url) as client:
            answers.append([send(client, files) for files in (*([each] for each in pictures), pictures[:3])])
    for ours, theirs in zip(*answers, strict=True):
        assert set(ours) == set(theirs)
        for name, array in ours.items():
            np.testing.assert_array_equal(array, theirs[name], err_msg=name)
    assert sum(int(answer["num_detections"].sum()) for answer in answers[0]) > 0


def test_float16_features_answer_what_the_stages_answer(half: Path, tmp_path: Path) -> None:
    with TritonServer(on_the_cpu(half, tmp_path / "repository"), drain_s=5) as server:
        assert check_answers(half, server.grpc_url) > 0


LOOK_UP = f"""{CONFIG}
parameters {{ key: "batch_sizes" value {{ string_value: "1,2,4,8" }} }}
parameters {{ key: "warm_up" value {{ string_value: "[{{\\"index\\":[1]}}]" }} }}
"""


def test_requests_join_and_one_that_fails_fails_alone(dense_standin: Path, tmp_path: Path) -> None:
    made = on_the_cpu(dense_standin, tmp_path / "made")
    with served(with_only(made, tmp_path / "repository", "look_up", MODEL, LOOK_UP)) as client:
        assert at_once(client, (0, 1), (1, 1), (1, 0)) == [[5, 6], [6, 6], [6, 5]]
        # Triton counts what a Python backend ran after its answers.
        wait_until(lambda: executions(client) == {3: 1}, START_S, "one execution of three requests")
        first, culprit, last = at_once(client, (0, 1), (1, 7), (1, 0))
        assert (first, last) == ([5, 6], [6, 5])
        assert isinstance(culprit, str)
        assert re.match(r"StatusCode.INTERNAL: look_up: .*idx=7 must be within", culprit)
        assert at_once(client, (1, 1), (0, 1), (0, 0)) == [[6, 6], [5, 6], [5, 5]]
