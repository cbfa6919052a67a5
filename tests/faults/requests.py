"""What clients do to a server: too much, too slowly, too late, too large, too many."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from faults.kind import Kind
from faults.scene import BOUNDED_S, LARGE, SIZE, Load, Scene, right
from maskline_client import Detector
from maskline_serve.repository.assemble import assemble
from serve import standin
from serve.conftest import Pending, arrays, image_input, send
from serve.test_server import wait_until
from support.serving.switch import switching
from tritonclient import grpc as triton


def outcome(request: Pending) -> str:
    """`right`, or the status of the error."""
    try:
        assert request.answer(2 * BOUNDED_S)["num_detections"].item() == 1
    except triton.InferenceServerException as error:
        return str(error.status()).removeprefix("StatusCode.")
    return "right"


def words(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def queue_full(scene: Scene) -> str:
    with scene.serving("--restart") as run, triton.InferenceServerClient(run.grpc) as client:
        start = time.monotonic()
        pending = [Pending(client, [LARGE], timeout_s=2 * BOUNDED_S) for _ in range(300)]
        counts = Counter(map(outcome, pending))
        assert counts.keys() == {"right", "UNAVAILABLE"}, counts
        assert run.health()["restarts"] == 0
        assert run.answers()
        return f"300 at once: {words(counts)} in {time.monotonic() - start:.1f} s; no restart"


def _deadline(seconds: float) -> Callable[[Scene], str]:
    def check(scene: Scene) -> str:
        with scene.serving() as run, triton.InferenceServerClient(run.grpc) as client:
            assert run.answers()  # connected, and warm
            busy = [Pending(client, [LARGE], timeout_s=BOUNDED_S) for _ in range(40)]
            start = time.monotonic()
            impatient = [Pending(client, [LARGE], timeout_s=seconds) for _ in range(10)]
            counts = Counter(map(outcome, impatient))
            told = time.monotonic() - start
            others = Counter(map(outcome, busy))
            assert counts.keys() <= {"DEADLINE_EXCEEDED", "right"}, counts
            assert counts["DEADLINE_EXCEEDED"] > 0, "the deadline was never met: a faster machine than this kind is for"
            assert told < seconds + 10, told
            assert others.keys() == {"right"}, others
            assert run.answers()
            return f"of 10: {words(counts)} after {told:.2f} s; 40 before them: {words(others)}"

    return check


def deadline_after_the_queue(scene: Scene) -> str:
    """The queue is empty, the picture takes longer to decode than the caller waits."""
    huge = standin.picture(1, (6000, 8000))
    with scene.serving() as run, triton.InferenceServerClient(run.grpc) as client:
        assert run.answers()
        counts = Counter(outcome(Pending(client, [huge], timeout_s=0.1)) for _ in range(3))
        assert counts == {"DEADLINE_EXCEEDED": 3}, counts
        assert run.answers()
        return f"{words(counts)}; the next caller is answered"


def slow_client(scene: Scene) -> str:
    """A request over HTTP, a byte every 20 ms, to the server and to `run`."""
    with scene.serving() as run, Load(run.grpc) as load:
        server = _byte_by_byte(run.http, "/v2/health/ready")
        own = _byte_by_byte(run.health_url, "/health")
        assert server.keys() <= {"200", "404"}, server
        assert own == {"200": 20}, own
        load.until(50)
        return f"HTTP: {words(server)}; /health: {words(own)}; others: {load.only()}"


def _byte_by_byte(url: str, path: str) -> Counter[str]:
    """The answers to 20 clients at once."""
    host, _, port = url.rpartition(":")
    text = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    slow = [socket.create_connection((host, int(port)), 30) for _ in range(20)]
    for position in range(len(text)):
        for connection in slow:
            connection.send(text[position : position + 1])
        time.sleep(0.02)
    codes = Counter(connection.recv(100).split(b" ")[1].decode() for connection in slow)
    for connection in slow:
        connection.close()
    return codes


def half_open(scene: Scene) -> str:
    """A connection behind a proxy that is cut in mid-request, and sockets that send half a request and stay."""
    with scene.serving("--restart") as run, Load(run.grpc) as load:
        host, _, port = run.grpc.rpartition(":")
        silent = [socket.create_connection((host, int(port)), 30) for _ in range(50)]
        for connection in silent:
            connection.send(b"PRI * HTTP/2.0\r\n\r\nSM")
        with switching(run.grpc) as switch, triton.InferenceServerClient(switch.url) as client:
            huge = standin.picture(1, (6000, 8000))
            pending = [Pending(client, [huge], timeout_s=5) for _ in range(8)]
            time.sleep(0.1)  # sent, and being decoded
            switch.turn("127.0.0.1:9")
            cut = Counter(map(outcome, pending))
        assert cut.keys() <= {"UNAVAILABLE", "DEADLINE_EXCEEDED"}, cut
        load.until(50)
        for connection in silent:
            connection.close()
        assert run.health()["restarts"] == 0
        return f"50 silent sockets, 8 requests cut off ({words(cut)}); others: {load.only()}"


def connection_flood(scene: Scene) -> str:
    with scene.serving("--restart") as run, Load(run.grpc) as load:
        flood = []
        for url in (run.grpc, run.http, run.health_url):
            host, _, port = url.rpartition(":")
            flood += [socket.create_connection((host, int(port)), 30) for _ in range(200)]
        load.until(50)
        for connection in flood:
            connection.close()
        wait_until(lambda: run.get("/health")[0] == 200, BOUNDED_S, "/health")
        return f"200 idle connections at gRPC, HTTP and /health each; others: {load.only()}"


def hundred_clients(scene: Scene) -> str:
    with scene.serving() as run, Load(run.grpc, 100) as load:
        load.until(2000)
        return load.only("UNAVAILABLE")


def bad_among_good(scene: Scene) -> str:
    """Single requests join into batches: good, text, empty, truncated, a bomb of 60 megapixels."""
    bad = [b"text", b"", standin.picture(3, SIZE)[:60], standin.picture(1, (6000, 10001))]
    with scene.serving() as run, triton.InferenceServerClient(run.grpc) as client:
        good: Counter[str] = Counter()
        refused: Counter[str] = Counter()
        for _ in range(10):
            sent = []
            for number in range(24):
                is_bad = number % 3 == 0
                file = bad[number // 3 % len(bad)] if is_bad else standin.picture(number, SIZE)
                sent.append((number, is_bad, Pending(client, [file], timeout_s=BOUNDED_S)))
            for number, is_bad, request in sent:
                try:
                    found = request.answer(2 * BOUNDED_S)
                except triton.InferenceServerException as error:
                    (refused if is_bad else good)[str(error.status())] += 1
                else:
                    (refused if is_bad else good)["right" if right(found, 0, number) else "wrong"] += 1
        assert good.keys() == {"right"}, good
        assert refused.keys() == {"StatusCode.INVALID_ARGUMENT"}, refused
        return f"good: {words(good)}; bad: {words(refused)}"


def oversized(scene: Scene) -> str:
    with scene.serving() as run, triton.InferenceServerClient(run.grpc) as client:
        counts: Counter[str] = Counter()
        for files in ([b"x" * (33 << 20)], [b"x" * (400 << 20)], [standin.picture(1)] * 9):
            try:
                send(client, files)
            except triton.InferenceServerException as error:
                counts[str(error.status()).removeprefix("StatusCode.")] += 1
        assert counts == {"INVALID_ARGUMENT": 3}, counts
        assert run.answers()
        return "33 MiB, 400 MiB and 9 images: INVALID_ARGUMENT each"


def earlier_client(scene: Scene) -> str:
    """It sends the image alone and asks for the outputs of the first wire contract."""
    names = ("num_detections", "boxes", "scores", "labels", "mask_rle", "image_size")
    with scene.serving() as run, triton.InferenceServerClient(run.grpc) as client:
        for count in range(0, 100, 9):
            asked = [triton.InferRequestedOutput(name) for name in names]
            result = client.infer("maskrcnn", [image_input([standin.picture(count, SIZE)])], outputs=asked)
            found = arrays(result)
            assert set(found) == set(names)
            assert right(found, 0, count)
        return "12 answers right"


def other_artifact(scene: Scene) -> str:
    """The second server has the names reversed; a client of ours must never read one by the names of the other."""
    other = dataclasses.replace(standin.SPEC, classes=standin.SPEC.classes[::-1])
    assemble(standin.write_artifact(scene.folder / "artifact", other, 0.89), scene.folder / "other")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    counts: Counter[str] = Counter()
    with Detector(f"127.0.0.1:{port}", retries=0, deadline_s=BOUNDED_S) as detector:
        for repository, best, classes in (
            (scene.repository, 0.99, standin.SPEC.classes),
            (scene.folder / "other", 0.89, other.classes),
        ):
            with scene.serving("--grpc-port", port, repository=repository):
                end = time.monotonic() + BOUNDED_S
                while counts[f"right {best}"] < 20:
                    assert time.monotonic() < end, counts
                    try:
                        found = detector.detect(standin.picture(2, SIZE))
                    except Exception as error:  # counted by its name, which must be the one of an absent server
                        counts[type(error).__name__] += 1
                        time.sleep(0.05)
                        continue
                    assert abs(found.scores[0] - best) < 1e-4
                    assert found.names == classes[:2], found.names
                    counts[f"right {best}"] += 1
    assert counts.keys() <= {"right 0.99", "right 0.89", "ServerUnavailable"}, counts
    return words(counts)


def slow_reader(scene: Scene) -> str:
    """Answers of 8 images with raw masks, 2.5 MB each, to a client that is stopped for seconds."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from serve import standin\nfrom serve.conftest import Pending\n"
        "from tritonclient import grpc as triton\n"
        "client = triton.InferenceServerClient(sys.argv[1])\n"
        "pending = [Pending(client, [standin.picture(5, (40, 60))] * 8, 'maskrcnn_raw') for _ in range(20)]\n"
        "print('sent', flush=True)\n"
        "for one in pending: assert one.answer()['num_detections'].ravel().tolist() == [5] * 8\n"
        "print('right', flush=True)\n"
    )
    with scene.serving() as run, Load(run.grpc) as load:
        command = [sys.executable, "-c", code, run.grpc, str(Path(__file__).parents[1])]
        slow = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert slow.stdout.readline() == b"sent\n"
        os.kill(slow.pid, signal.SIGSTOP)
        load.until(300)
        os.kill(slow.pid, signal.SIGCONT)
        assert slow.stdout.readline() == b"right\n"
        slow.communicate(timeout=BOUNDED_S)
        return f"its 20 answers right in the end; others meanwhile: {load.only()}"


KINDS = (
    Kind(
        "queue-full",
        "300 large pictures at once on queues of 64, with `--restart`",
        "each is answered rightly or refused as UNAVAILABLE; a full queue is no death: no restart",
        queue_full,
    ),
    Kind(
        "deadline-before-the-queue",
        "deadlines of 1 ms behind 40 large pictures",
        "DEADLINE_EXCEEDED in time; the others are answered",
        _deadline(0.001),
    ),
    Kind(
        "deadline-in-the-queue",
        "deadlines of 0.2 s behind 40 large pictures",
        "DEADLINE_EXCEEDED in time; the others are answered",
        _deadline(0.2),
    ),
    Kind(
        "deadline-after-the-queue",
        "a deadline of 0.1 s, a picture of 48 megapixels, no queue",
        "DEADLINE_EXCEEDED; the next caller is answered",
        deadline_after_the_queue,
    ),
    Kind(
        "slow-client",
        "20 HTTP requests, a byte at a time, to the server and to `/health`",
        "nobody else waits; `/health` answers 200, HTTP of release 24.10 sometimes 404 to a path that comes in pieces",
        slow_client,
    ),
    Kind(
        "slow-reader", "a client stops reading 50 MB of answers", "nobody else waits; it gets them later", slow_reader
    ),
    Kind(
        "half-open",
        "50 sockets that send half a greeting and stay, a proxy that cuts 8 requests off",
        "the cut ones end by UNAVAILABLE or their deadline; every other answer is right",
        half_open,
    ),
    Kind("connection-flood", "600 idle connections", "every answer is right, /health is 200", connection_flood),
    Kind("hundred-clients", "100 clients without a pause", "right, or UNAVAILABLE for a full queue", hundred_clients),
    Kind(
        "bad-among-good",
        "text, nothing, half a PNG and 60 megapixels among good pictures that join into batches",
        "INVALID_ARGUMENT for each bad one alone",
        bad_among_good,
    ),
    Kind("oversized-request", "33 MiB, 400 MiB, 9 images", "INVALID_ARGUMENT; it serves on", oversized),
    Kind("earlier-client", "a client of the first wire contract", "answered as ever", earlier_client),
    Kind(
        "other-artifact",
        "the server is replaced by one with other names while a client of ours calls",
        "no answer is read by the names of the other model; ServerUnavailable between",
        other_artifact,
    ),
)
