"""Files that end the process which decodes them, in the real server: they are refused alone, and it serves on.

These tests hurt their server, so they have one of their own, which gives a file little memory and little time.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from maskline_client import LocalDetector
from maskline_client.bench.machine import server_memory
from maskline_serve.local.backend_utils import InferenceRequest, TritonModelException
from maskline_serve.local.python_model import PythonModel
from maskline_serve.repository.assemble import assemble
from maskline_serve.repository.config import parse
from maskline_serve.repository.on_disk import Repository
from maskline_serve.server.triton_server import TritonServer
from serve import standin
from serve.conftest import Pending, send
from serve.test_faults import outcome
from serve.test_server import STOP_S, wait_until
from support.data.image_files import endless_jpeg
from support.served_models import model_of
from tritonclient import grpc as triton

pytestmark = pytest.mark.triton

MEMORY_MIB = 48
SECONDS = 5
GOOD = standin.picture(1)
LARGE = standin.picture(1, (1000, 1500), "JPEG")
TOO_LARGE = standin.picture(1, (4000, 6000), "JPEG")  # legal, and 96 MB in Pillow's four bytes a pixel
FOREVER = endless_jpeg(400_000, side=1500)
REFUSED = "StatusCode.INVALID_ARGUMENT"


def assembled(artifact, folder, **parameters):
    """A repository whose `preprocess` has other parameters."""
    assemble(artifact, folder)
    config = model_of(folder, "preprocess") / "config.pbtxt"
    text = config.read_text()
    for key, (before, after) in parameters.items():
        line = f'parameters {{ key: "{key}" value: {{ string_value: "%s" }} }}'
        assert line % before in text
        text = text.replace(line % before, line % after)
    config.write_text(text)
    return folder


@pytest.fixture(scope="module")
def said():
    """The server's log."""
    return []


@pytest.fixture(scope="module")
def victim(artifact, tmp_path_factory, said):
    repository = assembled(
        artifact,
        tmp_path_factory.mktemp("isolation") / "repository",
        max_decode_bytes=(1536 << 20, MEMORY_MIB << 20),
        max_decode_seconds=(20, SECONDS),
    )
    with TritonServer(repository, drain_s=2, show=said.append, verbose=True) as running:
        yield running


@pytest.fixture
def caller(victim):
    with triton.InferenceServerClient(victim.grpc_url) as connected:
        yield connected


def stub(server):
    """The process of `preprocess`; another server may serve the same repository at that time."""
    (found,) = (
        child for child in psutil.Process(server.server_pid).children() if "/preprocess-" in " ".join(child.cmdline())
    )
    return found


def decoders(server):
    """The processes that decode for it."""
    return [child for child in stub(server).children() if not ended(child)]


def ended(process):
    """Gone, or a zombie, which the server's supervisor asks for its status when it ends itself."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def status_of(process):
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return dict(line.split(":", 1) for line in lines)


def test_it_says_and_has_what_confines_it(victim, said):
    line = next(line for line in said if "in force there" in line)
    assert f"processes of their own, {SECONDS} s a file; in force there: no new privileges" in line
    assert f"{MEMORY_MIB} MiB of memory" in line
    found = status_of(decoders(victim)[0])
    assert found["NoNewPrivs"].strip() == "1"
    assert found["Threads"].strip() == "1"
    if "a filter of system calls" in line:
        assert found["Seccomp"].strip() == "2"
    else:
        assert "refused by this platform" in " ".join(said)
    limits = Path(f"/proc/{decoders(victim)[0].pid}/limits").read_text()
    assert {tuple(row.split()[-3:-1]) for row in limits.splitlines() if row.startswith("Max open files")} == {
        ("0", "0")
    }


def test_its_memory_is_counted_with_the_servers(victim):
    assert "decoder" in {process.name for process in server_memory(victim.grpc_url)}


def test_a_file_that_takes_too_much_memory_is_refused_alone(caller):
    pending = [Pending(caller, [file]) for file in (LARGE, GOOD, TOO_LARGE, GOOD)]
    (status, text), *others = [outcome(request) for request in (pending[2], *pending[:2], pending[3])]
    assert status == REFUSED
    assert f"more than {MEMORY_MIB << 20} bytes of memory" in text
    assert others == ["ok"] * 3
    with pytest.raises(triton.InferenceServerException, match=r"bytes of memory .*\(image 1 of 3, counted from 0\)"):
        send(caller, [GOOD, TOO_LARGE, GOOD])
    assert send(caller, [GOOD, LARGE])["num_detections"].tolist() == [[1], [1]]


def test_a_file_that_takes_forever_is_refused_and_those_behind_it_are_answered(victim, caller, said):
    before = {process.pid for process in decoders(victim)}
    pending = [Pending(caller, [file]) for file in (FOREVER, GOOD, LARGE)]
    status, text = outcome(pending[0])
    assert status == REFUSED
    assert f"more than {SECONDS} s to decode" in text
    assert [outcome(request) for request in pending[1:]] == ["ok"] * 2
    assert before - {process.pid for process in decoders(victim)}
    assert any("which decodes, has ended; the next file starts another" in line for line in said)


def alone(server, client):
    """The one process that decodes a file that comes alone: the last that was used."""
    before = {process.pid: process.num_ctx_switches().voluntary for process in decoders(server)}
    send(client, [GOOD])
    (used,) = [p for p in decoders(server) if p.num_ctx_switches().voluntary != before.get(p.pid)]
    return used


def test_a_file_that_crashes_its_process_is_refused_and_those_behind_it_are_answered(victim, caller):
    """By the signal that a crash gives. The process is stopped before, so that it cannot be done."""
    hurt = alone(victim, caller)
    hurt.suspend()
    pending = [Pending(caller, [file]) for file in (GOOD, LARGE, GOOD)]
    time.sleep(1.0)  # the first is on its way to the process; were it not, it would be answered, and this test fail
    hurt.send_signal(signal.SIGSEGV)
    hurt.resume()
    status, text = outcome(pending[0])
    assert status == REFUSED
    assert "end the process which decodes them (SIGSEGV)" in text
    assert [outcome(request) for request in pending[1:]] == ["ok"] * 2
    assert hurt.pid not in {process.pid for process in decoders(victim)}


def test_others_of_its_batch_are_answered(victim, caller):
    """Whichever file of a joined batch the hurt process got.

    On a busy machine the other process may have done all of a batch before the hurt one was asked: several tries.
    """
    if (os.cpu_count() or 1) < 2:
        pytest.skip("this machine has one core, so one process decodes")
    for _ in range(5):
        send(caller, [LARGE] * 4)  # more than one process
        first = alone(victim, caller)
        others = [process for process in decoders(victim) if process.pid != first.pid]
        for process in (first, *others):
            process.suspend()
        ahead = Pending(caller, [GOOD])  # waits in the first while the others gather
        pending = [Pending(caller, [LARGE]) for _ in range(4)]
        time.sleep(1.0)
        first.resume()
        assert outcome(ahead) == "ok"
        time.sleep(1.0)  # the batch is dealt out
        for process in others:
            process.send_signal(signal.SIGSEGV)
            process.resume()
        found = [outcome(request) for request in pending]
        refused = [each for each in found if each != "ok"]
        assert all(status == REFUSED and "(SIGSEGV)" in text for status, text in refused)
        if 0 < len(refused) < len(found):
            return
    pytest.fail(f"no batch was shared in five tries: {found}")


def test_nothing_is_left_when_the_model_is_killed(victim, caller):
    """Last: release 24.10 does not start a model again. One process sleeps, or one decodes."""
    pending = Pending(caller, [LARGE])
    found = decoders(victim)
    assert found
    stub(victim).kill()
    outcome(pending)  # whatever it is: the file may have been done before
    wait_until(lambda: all(map(ended, found)), STOP_S, "ending the processes that decode")


def test_nothing_is_left_when_the_server_stops(repository):
    with TritonServer(repository, drain_s=2) as server, triton.InferenceServerClient(server.grpc_url) as client:
        send(client, [LARGE] * 3)
        found = decoders(server)
        assert found
    wait_until(lambda: all(map(ended, found)), STOP_S, "ending the processes that decode")


def loaded(artifact, folder, **parameters):
    """The model `preprocess` in this process, by what Triton's Python backend calls."""
    repository = Repository.load(assembled(artifact, folder, **parameters))
    model = repository.model("preprocess")
    config = parse((model / "config.pbtxt").read_text(), model / "config.pbtxt")
    return PythonModel(model / "1", model.name, config, model)


@pytest.mark.parametrize(("isolation", "number"), [("process", 1), ("none", 0)])
def test_files_can_be_decoded_by_the_model_itself(artifact, tmp_path, caplog, isolation, number):
    caplog.set_level("INFO")
    model = loaded(artifact, tmp_path / "repository", decode_isolation=("process", isolation))
    try:
        response = model.execute(InferenceRequest({"image": np.array([[GOOD]], np.object_)}))
        assert response.outputs["image_size"].tolist() == [[48, 72]]
        assert len(own_decoders()) == number
    finally:
        model.close()
    assert own_decoders() == []
    assert ("preprocess: files are decoded in this process" in caplog.text) == (number == 0)


def own_decoders():
    """Processes that this one started to decode."""
    return [child for child in psutil.Process().children() if not ended(child) and "worker.py" in str(child.cmdline())]


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"decode_isolation": ("process", "maybe")}, "decode_isolation: got 'maybe', expected one of process, none"),
        ({"max_decode_seconds": (20, 0)}, "max_decode_seconds: got '0', expected a whole number above zero"),
        ({"max_decode_bytes": (1536 << 20, "1G")}, "max_decode_bytes: got '1G', expected a whole number above zero"),
    ],
)
def test_a_parameter_that_cannot_be_is_named(artifact, tmp_path, parameters, text):
    with pytest.raises(TritonModelException) as caught:
        loaded(artifact, tmp_path / "repository", **parameters)
    assert text in str(caught.value)


def test_a_model_whose_files_no_process_can_decode_says_so(artifact, tmp_path, monkeypatch):
    monkeypatch.setattr("subprocess.Popen", refuse)
    with pytest.raises(
        TritonModelException, match=r"no process that decodes .*: .*No more processes; set it to 'none'"
    ):
        loaded(artifact, tmp_path / "repository")


def refuse(*_, **__):
    raise OSError(11, "No more processes")


def test_a_client_without_a_server_starts_no_process(artifact):
    with LocalDetector(artifact) as local:
        local.detect(GOOD)
        assert own_decoders() == []
