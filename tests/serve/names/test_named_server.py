"""A repository that was given a name, in the real server: its ensembles answer, by that name and no other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from maskline_serve.commands import app
from maskline_serve.repository.names import ensembles, word_of
from maskline_serve.server.triton_server import TritonServer
from serve import standin
from serve.conftest import DEADLINE_S, arrays, send
from serve.test_batches import LANDSCAPE, check_row
from tritonclient import grpc as triton
from typer.testing import CliRunner

pytestmark = pytest.mark.triton

SPEC = standin.VARIANTS["masks and keypoints"]
ALWAYS = {"num_detections", "boxes", "scores", "labels"}


@pytest.fixture(scope="module")
def nuclei(tmp_path_factory: pytest.TempPathFactory) -> Iterator[triton.InferenceServerClient]:
    """A client of a server with the one repository, which the command assembled."""
    folder = tmp_path_factory.mktemp("nuclei")
    words = [str(standin.write_artifact(folder / "artifact", SPEC)), str(folder / "repository"), "--name", "nuclei"]
    done = CliRunner().invoke(app, ["assemble", *words])
    assert done.exit_code == 0, done.output
    with (
        TritonServer(folder / "repository", drain_s=5) as server,
        triton.InferenceServerClient(server.grpc_url) as client,
    ):
        yield client


def engines(client: triton.InferenceServerClient, count: int) -> dict[str, Any]:
    """The answer of the ensemble that takes a canvas."""
    canvas = np.full((1, 64, 96, 3), count, np.uint8)
    info = np.array([[*LANDSCAPE, 1, 1, *LANDSCAPE]], np.float32)
    inputs = [triton.InferInput("canvas", canvas.shape, "UINT8"), triton.InferInput("image_info", info.shape, "FP32")]
    inputs[0].set_data_from_numpy(canvas)
    inputs[1].set_data_from_numpy(info)
    return arrays(client.infer("nuclei_engines", inputs, client_timeout=DEADLINE_S))


def test_all_its_ensembles_answer(nuclei: triton.InferenceServerClient) -> None:
    answers = {name: send(nuclei, [standin.picture(3, LANDSCAPE)], name) for name in ("nuclei", "nuclei_raw")}
    answers["nuclei_boxes"] = send(nuclei, [standin.picture(3, LANDSCAPE)], "nuclei_boxes")
    answers["nuclei_engines"] = engines(nuclei, 3)
    assert {*answers} == {*ensembles("nuclei")}
    assert {name: {*answer} - ALWAYS for name, answer in answers.items()} == {
        "nuclei": {"mask_rle", "keypoints", "image_size"},
        "nuclei_raw": {"masks", "keypoints", "image_size"},
        "nuclei_boxes": {"image_size"},
        "nuclei_engines": {"masks", "keypoints"},
    }
    for answer in answers.values():
        check_row(answer, 0, 3, LANDSCAPE)


def test_the_server_has_these_models_and_no_other(nuclei: triton.InferenceServerClient) -> None:
    found = {model.name for model in nuclei.get_inference_statistics().model_stats}  # of all that are loaded
    revision = nuclei.get_model_config("nuclei").config.parameters["revision"].string_value
    steps = found - {*ensembles("nuclei")}
    assert {*ensembles("nuclei")} <= found
    assert {name.rpartition("-")[2] for name in steps} == {revision}
    assert {word_of(name) for name in steps} == {
        *("preprocess", "backbone", "proposal", "mask", "keypoint"),
        *("postprocess", "postprocess_raw", "postprocess_boxes"),
    }
    with pytest.raises(triton.InferenceServerException, match="unknown model: 'maskrcnn'"):
        send(nuclei, [standin.picture(1)], "maskrcnn")
