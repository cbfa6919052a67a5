"""TLS and mutual TLS of the real server: who gets in, who does not, and that plain HTTP is no way around it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from maskline_client import Detector, ServerUnavailable
from maskline_client.cli import main
from maskline_client.connection import Tls
from maskline_serve.server.front_door.front_door import FrontDoor
from maskline_serve.server.front_door.tls import ServerTls
from maskline_serve.server.triton_server import TritonServer
from serve import standin
from serve.front_door.certificates import SERVER, Authority
from serve.front_door.http import ask
from serve.test_server import Run, end
from support.processes.in_process import call

pytestmark = pytest.mark.triton
DEADLINE_S = 30.0  # two loaded cores


def test_a_client_with_a_certificate_of_the_authority_gets_in(mutual: TritonServer, ours: Authority) -> None:
    pair = ours.issue("caller")
    tls = Tls(ours.certificate, pair.key, pair.certificate)
    with Detector(mutual.grpc_url, tls=tls, deadline_s=DEADLINE_S) as detector:
        assert len(detector.detect(standin.picture(3))) == 3


def callers(ours: Authority, others: Authority) -> dict[str, Tls | None]:
    """Who must stay outside."""
    bad = {
        "of another authority": others.issue("caller"),
        "over its date": ours.issue("late", valid_days=(-3, -1)),
        "before its date": ours.issue("early", valid_days=(1, 3)),
        "for servers alone": ours.issue("no client", usages=(SERVER,)),
    }
    shown = {name: Tls(ours.certificate, pair.key, pair.certificate) for name, pair in bad.items()}
    good = ours.issue("good")
    strange = Tls(others.certificate, good.key, good.certificate)
    return {"without TLS": None, "without a certificate": Tls(ours.certificate), "trusts another": strange, **shown}


OUTSIDE = (
    "without TLS",
    "without a certificate",
    "trusts another",
    "of another authority",
    "over its date",
    "before its date",
    "for servers alone",
)


@pytest.mark.parametrize("who", OUTSIDE)
def test_others_stay_outside(mutual: TritonServer, ours: Authority, others: Authority, who: str) -> None:
    tls = callers(ours, others)[who]
    with (
        Detector(mutual.grpc_url, tls=tls, deadline_s=DEADLINE_S, retries=0) as detector,
        pytest.raises(ServerUnavailable),
    ):
        detector.detect(standin.picture(3))


def test_everyone_who_must_stay_outside_is_tried(ours: Authority, others: Authority) -> None:
    assert set(callers(ours, others)) == set(OUTSIDE)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/health/live", 200),
        ("GET", "/v2/health/ready", 200),
        ("GET", "/v2/models/maskrcnn/ready", 200),
        ("POST", "/v2/models/maskrcnn/infer", 403),
        ("POST", "/v2/models/maskrcnn/generate", 403),
        ("GET", "/v2/models/maskrcnn", 403),
        ("GET", "/v2/models/maskrcnn/config", 403),
        ("GET", "/v2/models/maskrcnn/stats", 403),
        ("GET", "/v2", 403),
    ],
)
def test_plain_http_beside_tls_answers_health_alone(mutual: TritonServer, method: str, path: str, status: int) -> None:
    assert ask(mutual.http_url, method, path).status == status


def test_tls_without_a_certificate_of_the_client_and_nothing_listens_for_vertex_ai(
    repository: Path, ours: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AIP_MODE opens a second HTTP port in a Triton that is not told otherwise."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    monkeypatch.setenv("AIP_MODE", "PREDICTION")
    monkeypatch.setenv("AIP_HTTP_PORT", str(port))
    pair = ours.issue("wildcard", hosts=("*.example.org", "localhost"), usages=(SERVER,))
    door = FrontDoor(tls=ServerTls(pair.certificate, pair.key))
    with TritonServer(repository, front_door=door, drain_s=1) as server:
        url = f"localhost:{server.grpc_url.rpartition(':')[2]}"
        with Detector(url, tls=Tls(ours.certificate), deadline_s=DEADLINE_S) as detector:
            assert len(detector.detect(standin.picture(2))) == 2
        with socket.socket() as caller, pytest.raises(ConnectionRefusedError):
            caller.connect(("127.0.0.1", port))


def test_the_commands_meet_over_mutual_tls(
    repository: Path, ours: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    """As docs/security.md has them: the server's certificate serves its own calls too."""
    pair, mine = ours.issue("served"), ours.issue("mine")
    server_files = ["--tls-certificate", str(pair.certificate), "--tls-key", str(pair.key)]
    run = Run(repository, "--drain-s", "1", *server_files, "--tls-ca", str(ours.certificate))
    try:
        said = run.wait_until_serving()
        url = next(line.split()[1] for line in said.splitlines() if line.startswith("  gRPC"))
        trusting = ["--tls-ca", str(ours.certificate)]
        showing = ["--tls-certificate", str(mine.certificate), "--tls-key", str(mine.key)]
        assert call(main, "health", "--deep", "--url", url, *trusting, *showing) == 0
        assert call(main, "health", "--url", url, *trusting) == 3
        assert "canary" in capsys.readouterr().out
    finally:
        end(run)
