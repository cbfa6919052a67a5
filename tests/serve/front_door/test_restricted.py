"""Every call of Triton's protocol against the real server: what is open to anyone, and what asks for the key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from maskline_serve.server.front_door import restricted
from maskline_serve.server.front_door.front_door import FrontDoor
from maskline_serve.server.triton_server import TritonServer
from serve.front_door.http import ask
from tritonclient.grpc import service_pb2, service_pb2_grpc

pytestmark = pytest.mark.triton
DEADLINE_S = 30.0  # two loaded cores
REFUSED = "This protocol is restricted, expecting header 'triton-grpc-protocol-maskline-key'"
OPEN = {"health", "metadata", "inference", "model-config", "statistics"}  # what clients of this release ask for
MODEL = {"name": "maskrcnn"}
CALLS = {
    "ServerLive": ("health", {}),
    "ServerReady": ("health", {}),
    "ModelReady": ("health", MODEL),
    "ServerMetadata": ("metadata", {}),
    "ModelMetadata": ("metadata", MODEL),
    "ModelInfer": ("inference", {"model_name": "maskrcnn"}),
    "ModelStreamInfer": ("inference", {"model_name": "maskrcnn"}),
    "ModelConfig": ("model-config", MODEL),
    "ModelStatistics": ("statistics", MODEL),
    "RepositoryIndex": ("model-repository", {}),
    "RepositoryModelLoad": ("model-repository", {"model_name": "maskrcnn"}),
    "RepositoryModelUnload": ("model-repository", {"model_name": "maskrcnn"}),
    "SystemSharedMemoryStatus": ("shared-memory", {}),
    "SystemSharedMemoryRegister": ("shared-memory", {"name": "x", "key": "/none", "byte_size": 8}),
    "SystemSharedMemoryUnregister": ("shared-memory", {"name": "x"}),
    "CudaSharedMemoryStatus": ("shared-memory", {}),
    "CudaSharedMemoryRegister": ("shared-memory", {"name": "x", "raw_handle": b"0" * 64, "byte_size": 8}),
    "CudaSharedMemoryUnregister": ("shared-memory", {"name": "x"}),
    "TraceSetting": ("trace", {}),
    "LogSettings": ("logging", {}),
}
REQUESTS = [
    ("GET", "/v2/health/live", "health"),
    ("GET", "/v2/health/ready", "health"),
    ("GET", "/v2/models/maskrcnn/ready", "health"),
    ("GET", "/v2", "metadata"),
    ("GET", "/v2/models/maskrcnn", "metadata"),
    ("POST", "/v2/models/maskrcnn/infer", "inference"),
    ("GET", "/v2/models/maskrcnn/config", "model-config"),
    ("GET", "/v2/models/maskrcnn/stats", "statistics"),
    ("GET", "/v2/models/stats", "statistics"),
    ("POST", "/v2/repository/index", "model-repository"),
    ("POST", "/v2/repository/models/maskrcnn/load", "model-repository"),
    ("POST", "/v2/repository/models/maskrcnn/unload", "model-repository"),
    ("GET", "/v2/systemsharedmemory/status", "shared-memory"),
    ("POST", "/v2/systemsharedmemory/region/x/register", "shared-memory"),
    ("POST", "/v2/systemsharedmemory/unregister", "shared-memory"),
    ("GET", "/v2/cudasharedmemory/status", "shared-memory"),
    ("POST", "/v2/cudasharedmemory/region/x/register", "shared-memory"),
    ("POST", "/v2/cudasharedmemory/unregister", "shared-memory"),
    ("GET", "/v2/trace/setting", "trace"),
    ("POST", "/v2/trace/setting", "trace"),
    ("POST", "/v2/models/maskrcnn/trace/setting", "trace"),
    ("GET", "/v2/logging", "logging"),
    ("POST", "/v2/logging", "logging"),
]
SPELLINGS = (
    "//v2/repository/index",
    "/v2//repository/index",
    "/v2/repository/index/",
    "/v2/repository/index?",
    "/v2/repository/%69ndex",
    "/v2/models/../repository/index",
    "/v2/./repository/index",
    "/V2/repository/index",
    "http://127.0.0.1/v2/repository/index",
)


@pytest.fixture(scope="module")
def channel(server: TritonServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc_url) as opened:
        yield opened


def refusal(channel: grpc.Channel, method: str, headers: dict[str, str]) -> tuple[str, str]:
    """Status and text of a call; OK and nothing where it was answered."""
    description = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name[method]
    request = getattr(service_pb2, description.input_type.name)(**CALLS[method][1])
    call = getattr(service_pb2_grpc.GRPCInferenceServiceStub(channel), method)
    try:
        if method == "ModelStreamInfer":
            next(call(iter([request]), timeout=DEADLINE_S, metadata=list(headers.items())))
        else:
            call(request, timeout=DEADLINE_S, metadata=list(headers.items()))
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return "OK", ""


def test_the_tables_have_every_call_and_every_group() -> None:
    methods = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name
    assert set(CALLS) == set(methods)
    assert {group for group, _ in CALLS.values()} == set(restricted.GROUPS) == {group for _, _, group in REQUESTS}
    assert set(restricted.GROUPS) == OPEN | set(restricted.CLOSED)


@pytest.mark.parametrize("method", CALLS)
def test_a_call_over_grpc(channel: grpc.Channel, server: TritonServer, method: str) -> None:
    closed = CALLS[method][0] not in OPEN
    for headers in ({}, restricted.grpc_headers("0" * 64), restricted.grpc_headers("")):
        assert (refusal(channel, method, headers) == ("UNAVAILABLE", REFUSED)) == closed, headers
    assert REFUSED not in refusal(channel, method, server.front_door.headers)


@pytest.mark.parametrize(("method", "path", "group"), REQUESTS)
def test_a_request_over_http(server: TritonServer, method: str, path: str, group: str) -> None:
    closed = group not in OPEN
    for headers in ({}, restricted.http_headers("0" * 64), restricted.http_headers("")):
        answer = ask(server.http_url, method, path, headers)
        assert (answer.status == 403) == closed, answer
    opened = ask(server.http_url, method, path, restricted.http_headers(server.front_door.key))
    assert opened.status != 403
    assert b"restricted" not in opened.body


@pytest.mark.parametrize("path", SPELLINGS)
def test_no_other_spelling_of_a_path_is_a_way_around(server: TritonServer, path: str) -> None:
    """Triton before May 2026 has a way around that nobody has published (CVE-2026-24206, -24207); these are not it."""
    answer = ask(server.http_url, "POST", path)
    assert answer.status in (400, 403, 404, 405)
    assert b"READY" not in answer.body


def test_every_start_has_another_key_and_no_text_has_it(repository: Path) -> None:
    lines: list[str] = []
    first, second = FrontDoor(), FrontDoor()
    assert first.key != second.key
    assert len(first.key) == 64
    assert first.key not in repr(first)
    server = TritonServer(repository, front_door=first, drain_s=1, show=lines.append, verbose=True)
    with server, grpc.insecure_channel(server.grpc_url) as channel:
        assert refusal(channel, "RepositoryIndex", second.headers) == ("UNAVAILABLE", REFUSED)
        assert refusal(channel, "RepositoryIndex", first.headers) == ("OK", "")
    assert len(lines) > 20
    assert not [line for line in lines if first.key in line]
