"""The benchmark against the real Triton server, with the stand-in's foreseeable answers."""

import json

import pytest
from maskline_client.bench.calls import Caller, connect
from maskline_client.bench.images import load_images
from maskline_client.bench.machine import server_memory
from maskline_client.bench.run import run_bench
from maskline_client.bench.settings import BenchSettings, Memory, Scenario
from maskline_client.bench.statistics import read_counters, steps_of
from maskline_client.cli import main
from maskline_client.contract import word_of
from maskline_serve.server.front_door.front_door import FrontDoor
from maskline_serve.server.triton_server import TritonServer
from serve.standin import picture
from support.processes.in_process import call

pytestmark = pytest.mark.triton
STEPS = ["preprocess", "backbone", "proposal", "mask", "postprocess"]
COUNTS = (0, 3, 7)  # objects in the three images


@pytest.fixture
def folder(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for count in COUNTS:
        (images / f"{count}.png").write_bytes(picture(count))
    return images


def test_steps_and_processes_of_a_real_server(server):
    client = connect(server.grpc_url, 10.0)
    try:
        names = steps_of(client, "maskrcnn")
        assert sorted(word_of(name) for name in names) == sorted(STEPS)
        assert steps_of(client, names[0]) == (names[0],)  # a plain model is its own only step
        counters = read_counters(client, names)
    finally:
        client.close()
    assert all(model.successes >= 1 for model in counters.values())  # the canary went through every step
    memory = server_memory(server.grpc_url)
    names = [process.name for process in memory]
    assert names.count("tritonserver") == 1
    assert set(names) >= {"stub preprocess_0_0", "stub postprocess_0_0"}  # the stages: tests/serve/backend
    assert all(process.peak_mib >= process.resident_mib > 1 for process in memory)


def test_a_run_counts_every_request_in_every_step(server, folder, tmp_path):
    settings = BenchSettings(
        server.grpc_url, scenarios=tuple(Scenario), concurrency=(1, 3), requests=6, seconds=0.5, warmup=2,
        target_qps=20.0, in_flight=3, timeout_s=30.0,
    )  # fmt: skip
    results = run_bench(settings, load_images(folder), tmp_path, lambda line: None)
    assert results.voids == ()
    assert [run.label for run in results.runs] == [
        "closed-loop 1", "closed-loop 3", "single-stream 1", "server", "offline 3",
    ]  # fmt: skip
    assert results.images["mean_detections"] == sum(COUNTS) / len(COUNTS)
    for run in results.runs:
        answered = len(run.measured.latencies_ms)
        assert [step.inferences for step in run.steps] == [answered] * len(STEPS)  # none lost, none of the warm-up
        assert all(step.compute_infer_us > 0 and step.failures == 0 for step in run.steps)
        # The steps are a part of what the client waits for; a step's output phase overlaps with the next step.
        served_ms = sum(step.total_us - step.compute_output_us for step in run.steps) / 1e3
        assert 0 < served_ms <= run.latency.mean_ms
        for step in run.steps:
            if step.batches:  # models with a dynamic batcher: the histogram holds every image
                assert sum(size * count for size, count in step.batches.items()) == answered


def test_raw_masks_are_compared_too(server, folder):
    caller = Caller(server.grpc_url, "maskrcnn_raw", 30.0)
    try:
        answers = [caller.call(image).answer for image in load_images(folder)]
    finally:
        caller.close()
    assert [answer.num_detections for answer in answers] == list(COUNTS)
    mask_side = answers[1].masks.shape[-1]
    # The stand-in's masks are solid in the left half of the grid.
    assert answers[1].mask_areas() == pytest.approx([mask_side * mask_side / 2] * 3, rel=1e-9)


def test_the_command_line(server, folder, tmp_path):
    arguments = ["--url", server.grpc_url, "--images", str(folder), "--out", str(tmp_path / "out")]
    assert call(main, "bench", *arguments, "--concurrency", "1,2", "--requests", "4", "--warmup", "0") == 0
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [run["void"] for run in found["runs"]] == ["", ""]
    assert any(process["name"] == "tritonserver" for process in found["server_processes"])
    assert "triton" in found["versions"]


def test_a_refused_image_is_one_line_and_nothing_is_written(server, folder, tmp_path, capsys):
    damaged = (folder / "3.png").read_bytes()
    (folder / "damaged.png").write_bytes(damaged[: len(damaged) - 30])  # its header still says what it is
    arguments = ["--url", server.grpc_url, "--images", str(folder), "--out", str(tmp_path / "out")]
    assert call(main, "bench", *arguments) == 2  # InvalidImage
    (line,) = capsys.readouterr().err.splitlines()
    assert "refused the image" in line
    assert list((tmp_path / "out").iterdir()) == []


@pytest.fixture(scope="module")
def sharing(repository):
    """A server whose clients may share memory with it."""
    with TritonServer(repository, front_door=FrontDoor(shared_memory=True), drain_s=5) as running:
        yield running


def test_a_canvas_goes_by_message_and_by_shared_memory(sharing, folder, tmp_path, capsys):
    ways = (word for memory in ("plain", "system") for word in ("--memory", memory))
    status = call(
        main, "bench", "--images", str(folder), "--out", str(tmp_path / "out"), "--url", sharing.grpc_url,
        "--warmup", "1", "--model", "maskrcnn_engines", *ways, "--concurrency", "1,2", "--requests", "6",
    )  # fmt: skip
    shown = capsys.readouterr()
    assert status == 0, shown.err
    results = json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))
    runs = results["runs"]
    assert [(run["concurrency"], run["memory"]) for run in runs] == [
        (1, "plain"), (1, "system"), (2, "plain"), (2, "system"),
    ]  # fmt: skip
    for run in runs:
        assert run["void"] == ""
        assert len(run["latencies_ms"]) == 6
        assert run["mean_detections"] == sum(COUNTS) / len(COUNTS)
        assert [step["model"] for step in run["steps"]] == STEPS[1:4]  # canvases were made before
    assert shown.out.count("times the images a second of plain messages") == 2
    assert (tmp_path / "out" / "results.csv").read_text("utf-8").count("\n") == 3  # plain alone
    client = connect(sharing.grpc_url, 10.0)
    try:
        assert not client.get_system_shared_memory_status().regions  # all given back
    finally:
        client.close()


def test_a_server_that_shares_no_memory_says_so_in_one_line(server, folder, tmp_path, capsys):
    status = call(
        main, "bench", "--images", str(folder), "--out", str(tmp_path / "out"), "--url", server.grpc_url,
        "--model", "maskrcnn_engines", "--memory", "system", "--requests", "2",
    )  # fmt: skip
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert status != 0
    assert "--memory system: the server refuses it: This protocol is restricted" in error
    assert "`maskline-serve run` only with --shared-memory" in error
    assert not (tmp_path / "out" / "results.json").exists()


def test_shared_memory_of_a_gpu_is_refused_in_one_line_where_there_is_none(server, folder, tmp_path, capsys):
    status = call(
        main, "bench", "--images", str(folder), "--out", str(tmp_path / "out"), "--url", server.grpc_url,
        "--model", "maskrcnn_engines", "--memory", "cuda", "--requests", "2",
    )  # fmt: skip
    error = capsys.readouterr().err.strip().splitlines()
    assert status != 0
    assert len(error) == 1, error
    assert "--memory cuda: " in error[0]
    assert "a GPU that the server runs on" in error[0]
    assert not (tmp_path / "out" / "results.json").exists()


@pytest.mark.parametrize(
    ("model", "memory", "scenarios", "text"),
    [
        ("maskrcnn", (Memory.SYSTEM,), (Scenario.CLOSED_LOOP,), "--memory: got system for maskrcnn, expected"),
        ("maskrcnn_engines", (Memory.PLAIN,), (Scenario.SERVER,), "--scenario: got server, expected closed-loop"),
    ],
)
def test_what_does_not_go_together_is_refused(model, memory, scenarios, text):
    with pytest.raises(ValueError, match=text):
        BenchSettings("localhost:8001", model=model, memory=memory, scenarios=scenarios)
