"""Differences of Triton's counters and percentiles, on numbers that can be checked by hand."""

import pytest
from maskline_client.bench.statistics import ModelCounters, difference, read_counters, steps_of, summarize
from tritonclient.grpc import service_pb2


def counters(requests, inferences, executions, unit_ns, batches):
    phases = {
        "queue": 1 * unit_ns * requests,
        "compute_input": 2 * unit_ns * requests,
        "compute_infer": 30 * unit_ns * requests,
        "compute_output": 4 * unit_ns * requests,
    }
    return ModelCounters(inferences, executions, requests, 0, phases, batches)


def test_a_step_is_the_difference_of_two_readings_per_request():
    before = counters(10, 10, 10, 1_000, {1: 10})  # 10 requests of 1, 2, 30, 4 us
    after = ModelCounters(
        30,
        15,
        30,
        2,
        # 20 more requests that took 3, 5, 100, 7 us each
        {
            "queue": 10_000 + 60_000,
            "compute_input": 20_000 + 100_000,
            "compute_infer": 300_000 + 2_000_000,
            "compute_output": 40_000 + 140_000,
        },
        {1: 10, 4: 5},
    )
    (step,) = difference({"mask": before}, {"mask": after})
    assert (step.model, step.inferences, step.executions, step.failures) == ("mask", 20, 5, 2)
    assert step.mean_batch == 4.0
    assert (step.queue_us, step.compute_input_us) == (3.0, 5.0)
    assert (step.compute_infer_us, step.compute_output_us) == (100.0, 7.0)
    assert step.total_us == 115.0
    assert step.batches == {4: 5}  # the ten batches of one were before


def test_no_request_between_two_readings_gives_zeros():
    reading = counters(3, 3, 3, 1_000, {1: 3})
    (step,) = difference({"mask": reading}, {"mask": reading})
    assert (step.total_us, step.mean_batch, step.inferences, step.batches) == (0.0, 0.0, 0, {})


def test_versions_of_a_model_are_added_up():
    class Client:
        def get_inference_statistics(self, name):
            response = service_pb2.ModelStatisticsResponse()
            for version in (1, 2):
                stats = response.model_stats.add(name=name, version=str(version))
                stats.inference_count = 10 * version
                stats.execution_count = version
                stats.inference_stats.success.count = 5 * version
                stats.inference_stats.fail.count = version
                stats.inference_stats.queue.ns = 100 * version
                batch = stats.batch_stats.add(batch_size=2)
                batch.compute_infer.count = version
            return response

    found = read_counters(Client(), ["backbone"])["backbone"]
    assert (found.inferences, found.executions, found.successes, found.failures) == (30, 3, 15, 3)
    assert found.phase_ns["queue"] == 300
    assert found.batches == {2: 3}


def test_percentiles_interpolate_between_sorted_values():
    latency = summarize([float(value) for value in range(101, 0, -1)])  # 1..101: rank p is p % of the way
    assert (latency.count, latency.min_ms, latency.max_ms, latency.mean_ms) == (101, 1.0, 101.0, 51.0)
    # Interpolation multiplies 0.95 by 100 in binary floating point: off by an ulp, not more.
    assert (latency.p50_ms, latency.p90_ms) == pytest.approx((51.0, 91.0), rel=1e-12)
    assert (latency.p95_ms, latency.p99_ms) == pytest.approx((96.0, 100.0), rel=1e-12)
    assert summarize([10.0, 20.0]).p90_ms == pytest.approx(19.0, rel=1e-12)


def test_no_latency_is_an_error():
    with pytest.raises(ValueError, match="got none"):
        summarize([])


def test_steps_come_from_the_ensembles_configuration(served):
    import tritonclient.grpc as triton

    client = triton.InferenceServerClient(served.url)
    try:
        assert steps_of(client, "maskrcnn") == ("preprocess", "backbone")
    finally:
        client.close()


def test_a_step_is_called_by_its_word_whatever_its_repository_is(served):
    import tritonclient.grpc as triton

    served.behaviour.tag = "-1f0c6b3ad2e9"
    client = triton.InferenceServerClient(served.url)
    try:
        steps = steps_of(client, "maskrcnn")
        reading = read_counters(client, steps)
    finally:
        client.close()
    assert steps == ("preprocess-1f0c6b3ad2e9", "backbone-1f0c6b3ad2e9")
    assert [step.model for step in difference(reading, reading)] == ["preprocess", "backbone"]
