"""The fixture of the client's tests: a server of its own for each."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from tritonclient.grpc import service_pb2_grpc
from unit.client.triton_double import Script, Server, Servicer


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of its own for each test."""
    script = Script()
    options = [("grpc.max_receive_message_length", -1)]
    running = grpc.server(ThreadPoolExecutor(32), options=options)
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(script), running)
    port = running.add_insecure_port("127.0.0.1:0")
    running.start()
    yield Server(f"127.0.0.1:{port}", script)
    script.over.set()
    running.stop(None).wait(5)
