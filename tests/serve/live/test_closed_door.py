"""Model control of a server under explicit control: by whoever has the key, over mutual TLS, and by nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from maskline_client import Detector
from maskline_client.connection import Tls
from maskline_serve.errors import CertificateError
from maskline_serve.repository.on_disk import Repository
from maskline_serve.server.front_door.front_door import FrontDoor
from maskline_serve.server.front_door.tls import ServerTls
from maskline_serve.server.live.command import update_server
from maskline_serve.server.triton_server import Control, TritonServer
from serve import standin
from serve.front_door.certificates import SERVER, Authority
from serve.front_door.http import ask
from tritonclient import grpc as triton

pytestmark = pytest.mark.triton
DEADLINE_S = 60.0  # two loaded cores


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def behind_tls(versions: tuple[Path, ...], authority: Authority) -> Iterator[TritonServer]:
    """A server of the first version, whose own certificate is for servers alone."""
    pair, own = authority.issue("server", usages=(SERVER,)), authority.issue("own")
    tls = ServerTls(pair.certificate, pair.key, authority.certificate, own.certificate, own.key)
    with TritonServer(versions[0], control=Control.EXPLICIT, front_door=FrontDoor(tls=tls), drain_s=5) as server:
        yield server


def test_nobody_else_loads_or_unloads(behind_tls: TritonServer) -> None:
    """Not even with a certificate: the key is another thing."""
    arguments = behind_tls.front_door.client_arguments(behind_tls.grpc_url)
    with triton.InferenceServerClient(**arguments) as client:
        for call in (client.load_model, client.unload_model):
            for headers in ({}, FrontDoor().headers):
                with pytest.raises(triton.InferenceServerException, match="This protocol is restricted"):
                    call("maskrcnn", headers=headers)
        assert client.is_model_ready("maskrcnn")
    assert ask(behind_tls.http_url, "POST", "/v2/repository/models/maskrcnn/unload").status == 403


def test_an_update_finds_the_key_and_shows_a_certificate(
    behind_tls: TritonServer, authority: Authority, versions: tuple[Path, ...]
) -> None:
    new = Repository.load(versions[1])
    with pytest.raises(CertificateError, match=r"server.pem: got a certificate that --tls-ca .* refuses"):
        update_server(new, behind_tls.grpc_url, DEADLINE_S, DEADLINE_S, lambda text: None)
    own = authority.issue("operator")
    said = update_server(new, behind_tls.grpc_url, DEADLINE_S, DEADLINE_S, lambda text: None, own.certificate, own.key)
    assert f"{new.name} {new.revision} in place of" in said
    tls = Tls(authority.certificate, own.key, own.certificate)
    with Detector(behind_tls.grpc_url, tls=tls, deadline_s=DEADLINE_S) as detector:
        assert len(detector.detect(standin.picture(4))) == 4
