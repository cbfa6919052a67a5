"""The files of a benchmark: perf_analyzer's CSV, JSON, and the report."""

import csv
import io
import json
import re

from maskline_client.bench.machine import ProcessMemory
from maskline_client.bench.report import to_html
from maskline_client.bench.results import BenchResults, Measured, Run, to_csv, write_json
from maskline_client.bench.settings import Scenario
from maskline_client.bench.statistics import StepTimes

STEPS = (
    StepTimes("preprocess", 4, 4, 0, 1.0, 100.0, 10.0, 2_000.0, 20.0, {1: 4}),
    StepTimes("backbone", 4, 2, 0, 2.0, 300.0, 30.0, 6_000.0, 40.0, {2: 2}),
)


def level(concurrency, latencies_ms, errors=None):
    measured = Measured(tuple(latencies_ms), 2.0, errors or {}, 50.0, 150.0, (3,) * len(latencies_ms))
    return Run(Scenario.CLOSED_LOOP, concurrency, measured, STEPS)


def results(*runs):
    return BenchResults(
        when="2026-11-22T00:00:00+00:00",
        settings={"model": "maskrcnn", "url": "localhost:8001"},
        machine={"cpu": "a <fast> CPU", "cores": 2},
        versions={"python": "3.11"},
        images={"count": 2, "smallest": "8x8", "largest": "9x9", "mean_kilobytes": 1.5, "mean_detections": 3.0},
        gate={"images": 2},
        runs=runs,
        server_processes=(ProcessMemory(7, "tritonserver", 100.0, 90.0), ProcessMemory(8, "stub mask", 50.0, 40.0)),
    )


def test_the_csv_has_perf_analyzers_header_word_for_word():
    header = to_csv(results()).splitlines()[0]
    assert header == (
        "Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute Input,"
        "Server Compute Infer,Server Compute Output,Client Recv,p50 latency,p90 latency,p95 latency,p99 latency"
    )


def test_a_row_adds_up_to_the_mean_latency_in_microseconds():
    text = to_csv(results(level(4, [10.0, 10.0]), level(1, [9.0, 11.0, 10.0, 10.0])))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["Concurrency"] for row in rows] == ["1", "4"]  # in order, whatever order they ran in
    first = rows[0]
    assert first["Inferences/Second"] == "2"  # 4 answers in 2 s
    assert (first["Client Send"], first["Client Recv"]) == ("50", "150")
    assert (first["Server Queue"], first["Server Compute Infer"]) == ("400", "8000")  # both steps together
    assert (first["Server Compute Input"], first["Server Compute Output"]) == ("40", "60")
    assert first["Network+Server Send/Recv"] == "1300"  # 10000 - 50 - 150 - 8500
    assert first["p50 latency"] == "10000"


def test_a_void_level_has_no_row_and_no_figure(tmp_path):
    void = level(2, [10.0], {"UNAVAILABLE: queue": 3})
    found = results(level(1, [10.0]), void)
    assert void.void == "3 of 4 requests failed"
    assert len(to_csv(found).splitlines()) == 2
    write_json(tmp_path / "results.json", found)
    runs = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert "latency" in runs[0]
    assert runs[1]["void"] == "3 of 4 requests failed"
    assert "latency" not in runs[1]
    assert runs[1]["errors"] == {"UNAVAILABLE: queue": 3}
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]  # no temporary file stays


def test_the_report_carries_everything_itself_and_escapes_texts():
    page = to_html(results(level(1, [10.0, 12.0]), level(4, [20.0, 30.0])))
    assert page.count("<svg") == 4  # latency, throughput, steps at the lowest and the highest level
    assert "a &lt;fast&gt; CPU" in page
    assert not re.search(r'(?:src|href)="(?!#)', page)  # inner references (#...) only
    assert not re.search(r"#01020[3-8]", page)  # every stand-in colour became a variable of the theme
    assert "prefers-color-scheme: dark" in page
    assert "VOID" not in page


def test_the_report_of_void_runs_says_so_and_shows_no_latency():
    page = to_html(results(level(1, [123.456], {"UNAVAILABLE: queue": 1})))
    assert "VOID, do not use: closed-loop 1: 1 of 2 requests failed" in page
    assert "123.5" not in page
    assert "<svg" not in page
