"""`assemble --decode device`: in the real server, on the CPU, every file has the answer or the refusal that it has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from contract.test_preprocess import LIMITS, filters, images
from maskline_serve.doctor import Level, examine
from maskline_serve.errors import GpuNotFoundError, ModelNotLoadedError, RepositoryError, ServeError
from maskline_serve.local.local_models import LocalModels
from maskline_serve.repository.assemble import Target, assemble
from maskline_serve.repository.gpu.serving import Decode
from maskline_serve.repository.names import word_of
from maskline_serve.repository.on_disk import Repository
from maskline_serve.server import gpu
from maskline_serve.server.triton_server import TritonServer
from serve import standin
from serve.conftest import encoded, send, step_of
from serve.gpu.conftest import on_the_cpu
from serve.gpu.test_gpu_machine import row, without_driver

# Run here with the server below: every format's answer, every bad file's refusal, the neighbours of a bad file.
from serve.test_bad_input import (  # noqa: F401
    rgb,
    test_bad_image_fails_alone,
    test_bad_image_fails_its_own_batch_and_is_named,
    test_defined_answer,
)
from support.data import image_files
from support.served_models import config_in_words, model_of, name_of
from tritonclient import grpc as triton

pytestmark = pytest.mark.triton

LIMIT = 2  # Pillow rounds to 8 bits twice, and each time one may go up where the other goes down


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def on_device(dense_standin: Path, tmp_path_factory: pytest.TempPathFactory, said: list[str]) -> Iterator[TritonServer]:
    folder = on_the_cpu(dense_standin, tmp_path_factory.mktemp("device") / "repository", decode=Decode.DEVICE)
    with TritonServer(folder, drain_s=5, show=said.append) as running:
        yield running


@pytest.fixture
def client(on_device: TritonServer) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(on_device.grpc_url) as connected:
        yield connected


def test_the_log_says_where_images_are_decoded(on_device: TritonServer, said: list[str]) -> None:
    line = "preprocess: nvImageCodec decodes JPEGs on the CPU, ONNX Runtime resizes them there"
    assert any(line in each for each in said), said


def test_files_of_both_ways_share_one_request(client: triton.InferenceServerClient) -> None:
    files = [encoded(rgb(count), kind) for count, kind in ((3, "JPEG"), (9, "PNG"), (5, "JPEG"))]
    assert send(client, files)["num_detections"].tolist() == [[3], [9], [5]]


def test_canvases_are_the_hosts_and_those_that_keep_their_size_byte_for_byte(
    client: triton.InferenceServerClient,
) -> None:
    spec = standin.SPEC.preprocessing
    geometry = images.Geometry(spec.shorter_side_px, spec.longer_side_px, spec.canvases)
    files = [
        *(image_files.encoded(image_files.picture(64, 96, seed), "JPEG") for seed in range(2)),
        image_files.encoded(image_files.picture(300, 400), "JPEG"),
        image_files.encoded(image_files.picture(300, 400), "PNG"),
    ]
    prepared = [images.prepare(file, geometry, LIMITS, filters.by_pillow) for file in files]
    expected = dict(zip(("canvas", "image_info", "image_size"), images.compose(prepared, geometry), strict=True))
    found = send(client, files, step_of(client, "preprocess"))
    for name in ("image_info", "image_size"):
        np.testing.assert_array_equal(found[name], expected[name])
    off = np.abs(found["canvas"].astype(np.int16) - expected["canvas"]).max(axis=(1, 2, 3))
    assert off[[0, 1, 3]].tolist() == [0, 0, 0]  # not resized there: of its size, and no JPEG
    assert off[2] <= LIMIT


def test_a_clients_own_process_does_likewise(dense_standin: Path, tmp_path: Path) -> None:
    models = LocalModels(on_the_cpu(dense_standin, tmp_path / "repository", decode=Decode.DEVICE))
    answers = [models.infer(encoded(rgb(7), kind)) for kind in ("JPEG", "PNG")]
    models.close()
    assert [answer["num_detections"].tolist() for answer in answers] == [[[7]], [[7]]]


class Broken:
    """What a card does that was lost."""

    def decode(self, *_: object) -> None:
        raise RuntimeError("CUDA error: 719")

    compose = decode


def test_a_decoder_that_fails_leaves_all_to_the_host_and_a_canvas_that_fails_its_request_alone(
    dense_standin: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    repository = on_the_cpu(dense_standin, tmp_path / "repository", decode=Decode.DEVICE)
    models = LocalModels(repository)
    step = models._models[name_of(repository, "preprocess")]._model
    step._decoder = Broken()
    assert models.infer(encoded(rgb(7), "JPEG"))["num_detections"].tolist() == [[7]]
    assert "preprocess: 1 files decoded by the host, for nvImageCodec: CUDA error: 719" in caplog.text
    whole, step._canvas = step._canvas, Broken()
    with pytest.raises(ServeError, match="preprocess: CUDA error: 719"):
        models.infer(encoded(rgb(7), "JPEG"))
    step._canvas = whole
    assert models.infer(encoded(rgb(7), "JPEG"))["num_detections"].tolist() == [[7]]
    models.close()


def test_only_preprocess_is_another(dense_standin: Path, tmp_path: Path) -> None:
    for decode in Decode:
        assemble(dense_standin, tmp_path / decode, Target.ONNXRUNTIME_GPU, cards=(0, 2), decode=decode)
    names = sorted(word_of(path.parent.name) for path in (tmp_path / "host" / "models").glob("*/config.pbtxt"))
    configs = {name: [config_in_words(tmp_path / decode, name) for decode in Decode] for name in names}
    host, device = configs.pop("preprocess")
    assert all(ours == theirs for ours, theirs in configs.values())
    assert [(each.Kind.Name(each.kind), each.count, list(each.gpus)) for each in device.instance_group] == [
        ("KIND_GPU", 2, [0, 2])
    ]
    assert [each.parameters["decode"].string_value for each in (host, device)] == ["host", "device"]


def test_other_targets_refuse_it(dense_standin: Path, tmp_path: Path) -> None:
    with pytest.raises(
        RepositoryError, match="target cpu: got --decode device, which only the target onnxruntime-gpu takes"
    ):
        assemble(dense_standin, tmp_path / "repository", decode=Decode.DEVICE)
    assert not [*tmp_path.iterdir()]


def test_doctor_says_what_decodes(dense_standin: Path, tmp_path: Path) -> None:
    folder = on_the_cpu(dense_standin, tmp_path / "repository", decode=Decode.DEVICE)
    assert row(examine(folder), "decoding") == (Level.OK, "JPEGs by nvImageCodec on the CPU")


@without_driver
def test_a_card_that_is_missing_is_named_once_and_by_run_first(dense_standin: Path, tmp_path: Path) -> None:
    assemble(dense_standin, tmp_path / "repository", Target.ONNXRUNTIME_GPU, decode=Decode.DEVICE)
    level, detail = row(examine(tmp_path / "repository"), "decoding")
    assert level is Level.ERROR
    assert detail.startswith("--decode device: nvImageCodec does not decode (ValueError: nvImageCodec on GPU 0: ")
    assert detail.endswith("`pip install 'maskline[gpu,decode]'`, or assemble with --decode host")
    with pytest.raises(GpuNotFoundError, match="got no NVIDIA driver"):
        TritonServer(tmp_path / "repository")


def test_a_missing_package_is_named(dense_standin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = on_the_cpu(dense_standin, tmp_path / "repository", decode=Decode.DEVICE)
    (tmp_path / "bare" / "nvidia").mkdir(parents=True)
    (tmp_path / "bare" / "nvidia" / "__init__.py").touch()  # stands before the real one, and has no nvimgcodec
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "bare"))
    problem = gpu.decoder_problem(Repository.load(folder))
    assert problem is not None
    assert "ImportError: cannot import name 'nvimgcodec' from 'nvidia'" in problem


def test_a_value_that_nobody_knows_keeps_the_model_from_loading(dense_standin: Path, tmp_path: Path) -> None:
    folder = on_the_cpu(dense_standin, tmp_path / "repository", decode=Decode.DEVICE)
    config = model_of(folder, "preprocess") / "config.pbtxt"
    config.write_text(config.read_text(encoding="utf-8").replace('"device"', '"card"'), encoding="utf-8")
    with pytest.raises(ModelNotLoadedError, match="parameter decode: got 'card', expected one of host, device"):
        LocalModels(folder)
