"""The `onnxruntime` backend in the server's process: it answers as the one in Python, and says what is wrong."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import device
import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import pytest
from maskline_bench.measure import memory_mib
from maskline_export.onnx_stages.to_onnx import export_model
from maskline_serve.errors import ModelNotLoadedError
from maskline_serve.repository.assemble import assemble
from maskline_serve.repository.libraries import BACKEND_PLACE
from maskline_serve.repository.names import word_of
from maskline_serve.repository.on_disk import Repository
from maskline_serve.server import find_server, in_process
from maskline_serve.server.process import Ports, ServerProcess, listening
from maskline_serve.server.triton_server import TritonServer
from serve.conftest import send
from serve.same_answer import png
from serve.test_server import START_S, processes_of, wait_until
from support.export import external_files
from support.export.exported import decided_tiny_model
from support.export.kept_traces import kept_traces
from support.served_models import model_of
from tritonclient import grpc as triton

pytestmark = pytest.mark.triton

# Looks values up in a table of two: any other index makes a whole run fail. `row` is as wide as its request.
MODEL = """<ir_version: 10, opset_import: ["" : 20]>
look_up (int64[B,N] index) => (float[B,N] value, int64[B,N] same) {
    table = Constant <value = float[2] {5.0, 6.0}> ()
    value = Gather (table, index)
    same = Identity (index)
}"""
CONFIG = """
name: "look_up"
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "index" data_type: TYPE_INT64 dims: [ -1 ] } ]
output [ { name: "value" data_type: TYPE_FP32 dims: [ -1 ] }, { name: "same" data_type: TYPE_INT64 dims: [ -1 ] } ]
dynamic_batching { preferred_batch_size: [ 3 ] max_queue_delay_microseconds: 5000000 }
instance_group [ { kind: KIND_CPU count: 1 } ]
"""
MASKS = "# probabilities; zero where the label is -1\n    data_type: TYPE_FP32"  # of the config of `mask`
TABLE_BYTES = 96 << 20


@pytest.fixture(autouse=True)
def _built() -> None:
    device.backend()


def with_only(repository: Path, folder: Path, name: str, model: str, config: str) -> Path:
    """A repository with the backends of another one and nothing but this model, in `folder`; returns it.

    Args:
        model: in ONNX's text format.
        config: of `config.pbtxt`.
    """
    shutil.copytree(repository, folder, ignore=lambda path, names: names if Path(path).name == "models" else ())
    version = folder / "models" / name / "1"
    version.mkdir(parents=True)
    onnx.save(onnx.parser.parse_model(model), version / "model.onnx")
    (version.parent / "config.pbtxt").write_text(config, encoding="utf-8")
    return folder


@pytest.fixture
def look_up(repository: Path, tmp_path: Path) -> Path:
    """A repository with nothing but the model that looks values up."""
    return with_only(repository, tmp_path / "repository", "look_up", MODEL, CONFIG)


def edit(model: Path, old: str, new: str) -> None:
    """Change a model's config."""
    config = model / "config.pbtxt"
    text = config.read_text(encoding="utf-8")
    assert old in text
    config.write_text(text.replace(old, new, 1), encoding="utf-8")


@contextmanager
def served(folder: Path) -> Iterator[triton.InferenceServerClient]:
    """Within: a server of the folder's models, ready; without the canary, which wants an ensemble."""
    ports = Ports.claim("127.0.0.1", 0, 0, 0)
    process = ServerProcess(
        find_server.find(), [Repository.load(folder)], listening("127.0.0.1", ports), 1, lambda line: None, False
    )
    try:
        with triton.InferenceServerClient(f"127.0.0.1:{ports.grpc}") as client:
            wait_until(lambda: is_ready(client, process), START_S, "the start")
            yield client
    finally:
        process.stop()


def is_ready(client: triton.InferenceServerClient, process: ServerProcess) -> bool:
    assert process.status() is None, list(process.lines)
    try:
        return bool(client.is_server_ready(client_timeout=2.0))
    except triton.InferenceServerException:
        return False


def ask(client: triton.InferenceServerClient, *values: int) -> list[float] | str:
    """The values of one request, or its error."""
    tensor = triton.InferInput("index", [1, len(values)], "INT64")
    tensor.set_data_from_numpy(np.array([values], np.int64))
    try:
        result = client.infer("look_up", [tensor], client_timeout=START_S)
    except triton.InferenceServerException as error:
        return f"{error.status()}: {error.message()}"
    np.testing.assert_array_equal(result.as_numpy("same"), [values])
    return [float(value) for value in result.as_numpy("value")[0]]


def at_once(client: triton.InferenceServerClient, *requests: tuple[int, ...]) -> list[list[float] | str]:
    """What `ask` answers to requests that are in flight together."""
    with ThreadPoolExecutor(len(requests)) as threads:
        return list(threads.map(lambda values: ask(client, *values), requests))


def executions(client: triton.InferenceServerClient) -> dict[int, int]:
    """How often the model ran with each batch size."""
    stats = client.get_inference_statistics("look_up").model_stats[0].batch_stats
    return {entry.batch_size: entry.compute_infer.count for entry in stats}


def test_it_answers_as_the_backend_in_python_in_fewer_processes(tmp_path: Path) -> None:
    with kept_traces():
        export_model(decided_tiny_model(), "0" * 64, tmp_path / "artifact")
    answers, stubs = {}, {}
    for kind in ("library", "python"):
        assemble(tmp_path / "artifact", tmp_path / kind)
        if kind == "python":
            (tmp_path / kind / BACKEND_PLACE).unlink()
        rng = np.random.default_rng(0)
        with TritonServer(tmp_path / kind, drain_s=1) as server:
            stubs[kind] = len(processes_of(f"{(tmp_path / kind).resolve()}/models/"))
            with triton.InferenceServerClient(server.grpc_url) as client:
                pictures = [png(rng.integers(0, 256, (96, 128, 3), np.uint8)) for _ in range(3)]
                answers[kind] = [send(client, files, "maskrcnn_raw") for files in (pictures[:1], pictures)]
    assert sum(int(answer["num_detections"].sum()) for answer in answers["library"]) > 0
    for found, expected in zip(answers["library"], answers["python"], strict=True):
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array, err_msg=name)
    assert stubs["python"] - stubs["library"] == 3  # backbone, proposal, mask


def test_requests_join_and_one_that_fails_fails_alone(look_up: Path) -> None:
    with served(look_up) as client:
        assert at_once(client, (0, 1), (1, 1), (1, 0)) == [[5, 6], [6, 6], [6, 5]]
        assert executions(client) == {3: 1}
        first, culprit, last = at_once(client, (0, 1), (1, 7), (1, 0))
        assert (first, last) == ([5, 6], [6, 5])
        assert isinstance(culprit, str)
        assert re.match(r"StatusCode.INTERNAL: look_up: .*idx=7 must be within", culprit)
        assert executions(client) == {1: 2, 3: 1}  # the joint run failed, then each ran by itself
        stats = client.get_inference_statistics("look_up").model_stats[0].inference_stats
        assert (stats.success.count, stats.fail.count) == (5, 1)
        assert 0 < stats.compute_infer.ns < stats.success.ns


def test_requests_of_other_shapes_run_apart(look_up: Path) -> None:
    """Triton joins them where a config allows ragged batches; it counts what it handed over as one execution each."""
    edit(
        look_up / "models" / "look_up", "dims: [ -1 ] } ]\noutput", "dims: [ -1 ] allow_ragged_batch: true } ]\noutput"
    )
    with served(look_up) as client:
        assert at_once(client, (0, 1), (1, 1, 0), (1, 0)) == [[5, 6], [6, 6, 5], [6, 5]]
        assert executions(client) == {1: 1, 2: 1}


def test_several_instances_share_a_model(look_up: Path) -> None:
    edit(look_up / "models" / "look_up", "count: 1", "count: 3")
    edit(look_up / "models" / "look_up", "max_queue_delay_microseconds: 5000000", "")
    wanted = [(n % 2, 1, *[0] * (n % 5)) for n in range(60)]
    with served(look_up) as client:
        answers = at_once(client, *wanted)
    assert answers == [[5.0 + value for value in values] for values in wanted]


def resident_mib(folder: Path) -> float:
    """Memory of a server of the folder's model that has answered."""
    with served(folder) as client:
        assert ask(client, 0, 1) == [5.0, 5.0]
        return sum(memory_mib(pid)[1] for pid in processes_of(str((folder / "models").resolve())))


def test_weights_are_in_memory_once_whatever_the_instances(look_up: Path) -> None:
    model = onnx.parser.parse_model(MODEL)
    table = np.full(TABLE_BYTES // 4, 5.0, np.float32)
    model.graph.node[0].attribute[0].t.CopyFrom(onnx.numpy_helper.from_array(table))
    onnx.save(model, look_up / "models" / "look_up" / "1" / "model.onnx")
    edit(look_up / "models" / "look_up", "max_queue_delay_microseconds: 5000000", "")
    one = resident_mib(look_up)
    edit(look_up / "models" / "look_up", "count: 1", "count: 3")
    three = resident_mib(look_up)
    # Half a table: a session an instance holds two more of them, while three threads take a few MB.
    assert three - one < TABLE_BYTES / 2**20 / 2


@pytest.fixture
def mask_alone(artifact: Path, tmp_path: Path) -> Path:
    """A repository with one stage left."""
    assemble(artifact, tmp_path / "repository")
    for folder in (tmp_path / "repository" / "models").iterdir():
        if word_of(folder.name) != "mask":
            shutil.rmtree(folder)
    return tmp_path / "repository"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (MASKS, MASKS.replace("FP32", "UINT8"), r"output masks: got tensor\(float\), expected tensor\(uint8\)"),
        (
            "dims: [ 100, 14, 14 ]",
            "dims: [ 99, 14, 14 ]",
            r"output masks: got shape \[100, 14, 14\], expected \[99, 14, 14\]",
        ),
        (
            'name: "labels"',
            'name: "kinds"',
            "input labels is not in the config; input kinds is not in the model, which",
        ),
        (MASKS, MASKS.replace("FP32", "STRING"), "masks: got TYPE_STRING, expected TYPE_UINT8"),
        ('"0" } }', '"all" } }', "parameter intra_op_thread_count: got 'all', expected a whole number"),
        # Cut to 32 bits it is -2, which ONNX Runtime takes.
        ('"0" } }', '"4294967294" } }', "got '4294967294', expected a whole number from 0 to 2147483647"),
        ("max_batch_size: 8", "max_batch_size: 0", "max_batch_size: got 0, expected 1 or more"),
    ],
)
def test_a_config_that_does_not_fit_fails_the_load_by_name(mask_alone: Path, old: str, new: str, said: str) -> None:
    edit(model_of(mask_alone, "mask"), old, new)
    fails(mask_alone, said)


def fails(repository: Path, said: str) -> None:
    """The server does not start, and says so of `mask`."""
    with (
        pytest.raises(ModelNotLoadedError, match=rf"model mask-\w{{12}} did not load: .*{said}"),
        TritonServer(repository, drain_s=1),
    ):
        pass


def test_data_in_another_file_are_refused_before_the_server_starts(mask_alone: Path) -> None:
    external = external_files.model("initializer", "w.bin")
    onnx.save(external, model_of(mask_alone, "mask") / "1" / "model.onnx")
    fails(mask_alone, "got the tensor 'w' with its data in another file")


def test_a_missing_file_is_named(mask_alone: Path) -> None:
    (model_of(mask_alone, "mask") / "1" / "model.onnx").unlink()
    fails(mask_alone, r"model\.onnx is missing; assemble the repository anew")


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file|cannot open"), (b"no library", "file too short|invalid ELF")]
)
def test_a_library_that_is_no_onnx_runtime_is_named(
    content: bytes | None, said: str, mask_alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "libonnxruntime.so"
    if content is not None:
        library.write_bytes(content)
    monkeypatch.setattr(in_process, "onnx_runtime", lambda: library)
    fails(mask_alone, rf"ONNX Runtime cannot be loaded: .*({said}).*--backend-config=onnxruntime,library=FILE")


def test_without_onnx_runtimes_library_python_runs_the_stages(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a package that has none."""
    backend = repository / "backends" / "onnxruntime"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert in_process.onnx_runtime() is None
    in_process.link(backend, tmp_path / "onnxruntime")
    names = {path.name for path in backend.iterdir()}
    assert {path.name for path in (tmp_path / "onnxruntime").iterdir()} == names - {in_process.FILE}
    assert in_process.flags(tmp_path, [repository / "models"]) == []
