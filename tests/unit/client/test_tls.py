"""An encrypted connection, one-sided and mutual, with certificates made here."""

import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from maskline_client import Detector, ServerUnavailable, Tls
from tritonclient.grpc import service_pb2_grpc
from unit.client.triton_double import Script, Servicer, file_with

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command makes the certificates")


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a self-signed certificate for 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("pem")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=maskline -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        [*command.split(), "-keyout", "key.pem", "-out", "cert.pem"], cwd=folder, check=True, capture_output=True
    )
    return folder


@pytest.fixture(params=[False, True], ids=["one-sided", "mutual"])
def server(pem: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, bool]]:
    """The address of a server with TLS, and whether it asks for the client's certificate."""
    key, certificate = (pem / "key.pem").read_bytes(), (pem / "cert.pem").read_bytes()
    running = grpc.server(ThreadPoolExecutor(4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(Script()), running)
    credentials = grpc.ssl_server_credentials(
        [(key, certificate)], certificate if request.param else None, require_client_auth=request.param
    )
    port = running.add_secure_port("127.0.0.1:0", credentials)
    running.start()
    yield f"127.0.0.1:{port}", request.param
    running.stop(None).wait(5)


def test_a_trusted_server_answers_and_a_mutual_one_asks_who_calls(server: tuple[str, bool], pem: Path) -> None:
    url, mutual = server
    trusting = Tls(ca=pem / "cert.pem")
    named = Tls(ca=pem / "cert.pem", key=pem / "key.pem", certificate=pem / "cert.pem")
    with Detector(url, tls=named) as detector:
        assert len(detector.detect(file_with(2))) == 2
    with Detector(url, tls=trusting, retries=0) as detector:
        if mutual:
            with pytest.raises(ServerUnavailable):
                detector.detect(file_with(2))
        else:
            assert len(detector.detect(file_with(2))) == 2


def test_an_untrusted_server_and_a_plain_connection_are_refused(server: tuple[str, bool]) -> None:
    url, _ = server
    for tls in (None, Tls()):
        with Detector(url, tls=tls, retries=0) as detector, pytest.raises(ServerUnavailable):
            detector.detect(file_with(1))


def test_a_key_without_its_certificate_is_refused(pem: Path) -> None:
    with pytest.raises(ValueError, match="only one of key and certificate"):
        Detector(tls=Tls(key=pem / "key.pem"))
    with pytest.raises(ValueError, match=r"no\.pem cannot be read"):
        Detector(tls=Tls(ca=pem / "no.pem"))
