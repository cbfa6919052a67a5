"""The load makers against a real gRPC server: what they send, how errors void a run, what gets written."""

import json

import pytest
from maskline_client.bench.calls import Caller
from maskline_client.bench.closed_loop import first_answers, gate, run_closed_loop
from maskline_client.bench.loadgen import run_loadgen
from maskline_client.bench.settings import BenchSettings, Scenario
from maskline_client.cli import main
from support.processes.in_process import call

LOADGEN = [Scenario.SINGLE_STREAM, Scenario.SERVER, Scenario.OFFLINE]


def caller_of(served, timeout_s=5.0):
    return lambda: Caller(served.url, "maskrcnn", timeout_s)


def settings_of(served, **changes):
    return BenchSettings(served.url, seconds=0.3, requests=10, target_qps=40.0, in_flight=3, **changes)


def test_closed_loop_sends_what_it_says_and_keeps_that_many_in_flight(served, images):
    served.behaviour.delay_s = 0.02
    measured = run_closed_loop(caller_of(served), images, 3, requests=12, seconds=None)
    assert len(measured.latencies_ms) == served.behaviour.requests == 12
    assert served.behaviour.most_at_once == 3
    assert min(measured.latencies_ms) >= 20.0  # the server's own delay
    assert measured.errors == {}
    expected = sorted(len(image.data) % 4 for image in images) * 4
    assert sorted(measured.detections) == sorted(expected)


def test_closed_loop_by_time_stops(served, images):
    served.behaviour.delay_s = 0.02
    measured = run_closed_loop(caller_of(served), images, 2, requests=None, seconds=0.2)
    assert 2 <= len(measured.latencies_ms) <= 20  # at most 2 callers x 0.2 s / 0.02 s
    assert measured.wall_s >= 0.2


def test_closed_loop_counts_errors_by_text(served, images):
    served.behaviour.fail_every = 3
    measured = run_closed_loop(caller_of(served), images, 1, requests=9, seconds=None)
    assert len(measured.latencies_ms) == 6
    assert measured.errors == {"StatusCode.UNAVAILABLE: Exceeds maximum queue size": 3}


def test_a_late_answer_is_an_error(served, images):
    served.behaviour.delay_s = 0.4
    measured = run_closed_loop(caller_of(served, timeout_s=0.1), images, 1, requests=1, seconds=None)
    assert measured.latencies_ms == ()
    assert [text.split(":")[0] for text in measured.errors] == ["StatusCode.DEADLINE_EXCEEDED"]


def test_the_gate_finds_answers_that_change_under_load(served, images):
    expected = first_answers(caller_of(served), images)
    served.behaviour.delay_s = 0.05
    assert gate(caller_of(served), images, expected, 3) == []
    served.behaviour.mix_up = True
    problems = gate(caller_of(served), images, expected, 3)
    assert problems
    assert "detections" in problems[0]


@pytest.mark.parametrize("scenario", LOADGEN)
def test_loadgen_drives_the_server(served, images, tmp_path, scenario):
    served.behaviour.delay_s = 0.01
    measured, loadgen = run_loadgen(settings_of(served), scenario, images, tmp_path)
    assert measured.errors == {}
    assert loadgen["requests"] == len(measured.latencies_ms) == served.behaviour.requests >= 10
    assert min(measured.latencies_ms) >= 10.0
    assert loadgen["verdict"] in ("VALID", "INVALID")  # a run this short breaks MLPerf's own rules
    assert served.behaviour.most_at_once <= {Scenario.SINGLE_STREAM: 1, Scenario.OFFLINE: 3}.get(scenario, 16)
    assert (tmp_path / f"{scenario}_summary.txt").stat().st_size > 0


@pytest.mark.parametrize("scenario", LOADGEN)
def test_errors_that_loadgen_does_not_see_are_counted(served, images, tmp_path, scenario):
    served.behaviour.fail_every = 2
    measured, loadgen = run_loadgen(settings_of(served), scenario, images, tmp_path)
    assert sum(measured.errors.values()) == served.behaviour.requests // 2
    assert measured.latencies_ms == ()  # no figure that somebody could quote
    assert loadgen["figures"]["result_query_count"] >= 1  # LoadGen itself noticed nothing


def test_open_loop_counts_from_the_scheduled_time(served, images, tmp_path):
    """16 server threads of 0.2 s answer 80 a second; 200 a second must show as waiting."""
    served.behaviour.delay_s = 0.2
    settings = BenchSettings(served.url, seconds=0.5, target_qps=200.0)
    measured, _ = run_loadgen(settings, Scenario.SERVER, images, tmp_path)
    assert measured.errors == {}
    assert max(measured.latencies_ms) > 400.0  # twice the service time: the queue is in the figure


def run_bench_command(served, tmp_path, images, *options):
    folder = tmp_path / "images"
    folder.mkdir()
    for image in images:
        (folder / image.name).write_bytes(image.data)
    arguments = ["--url", served.url, "--images", str(folder), "--out", str(tmp_path / "out"), *options]
    return call(main, "bench", *arguments)


def test_the_command_writes_everything(served, images, tmp_path):
    status = run_bench_command(
        served, tmp_path, images, "--concurrency", "1,2", "--requests", "6", "--seconds", "0.3",
        "--target-qps", "30", *(part for name in ("closed-loop", *LOADGEN) for part in ("--scenario", name)),
    )  # fmt: skip
    assert status == 0
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == ["loadgen", "report.html", "results.csv", "results.json"]
    found = json.loads((out / "results.json").read_text())
    assert [run["scenario"] for run in found["runs"]] == ["closed-loop", "closed-loop", *LOADGEN]
    assert [step["model"] for step in found["runs"][0]["steps"]] == ["preprocess", "backbone"]
    assert found["runs"][0]["steps"][0]["queue_us"] == 2.0  # what the test's server reports
    assert len((out / "results.csv").read_text().splitlines()) == 3
    assert found["server_processes"]  # the server runs in this very process, so it is local
    assert found["images"]["count"] == 3


def test_errors_void_the_run_and_the_command_fails(served, images, tmp_path, capsys):
    served.behaviour.fail_every = 13  # the gate's 6 requests and the 5 of the warm-up pass
    assert run_bench_command(served, tmp_path, images, "--concurrency", "1", "--requests", "4") == 1
    said = capsys.readouterr().err
    assert "VOID, do not use: closed-loop 1: 1 of 4 requests failed" in said
    assert len((tmp_path / "out" / "results.csv").read_text().splitlines()) == 1


def test_no_server_is_one_line(images, tmp_path, served, capsys):
    gone = type(served)("127.0.0.1:9", served.behaviour)
    assert run_bench_command(gone, tmp_path, images) != 0
    said = capsys.readouterr().err
    assert len(said.strip().splitlines()) == 1
    assert "127.0.0.1:9" in said
    assert not (tmp_path / "out" / "results.json").exists()


def test_wrong_answers_are_not_timed(served, images, tmp_path, capsys):
    served.behaviour.delay_s = 0.05
    served.behaviour.mix_up = True
    assert run_bench_command(served, tmp_path, images, "--concurrency", "3") == 1
    said = capsys.readouterr().err
    assert "another answer" in said
    assert not (tmp_path / "out" / "results.json").exists()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--concurrency", "1,x"), "--concurrency"),  # not a number
        (("--concurrency", "0"), "--concurrency"),  # nobody in flight
        (("--images", "nowhere"), "nowhere"),  # no such folder
    ],
)
def test_bad_options_are_one_line(served, images, tmp_path, options, text, capsys):
    assert run_bench_command(served, tmp_path, images, *options) == 2
    said = capsys.readouterr().err
    assert text in said
    assert len(said.strip().splitlines()) == 1
