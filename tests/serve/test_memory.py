"""A server's memory over a thousand requests of changing sizes, our ops run by libmaskline_ort.so and by bodies."""

from __future__ import annotations

from pathlib import Path

import device
import numpy as np
import pytest
from maskline_client.bench.machine import server_memory
from maskline_export.onnx_stages.to_onnx import export_model
from maskline_serve.repository.assemble import assemble
from maskline_serve.repository.libraries import CUSTOM_OPS_PLACE
from maskline_serve.server.triton_server import TritonServer
from serve.conftest import send
from serve.same_answer import png
from support.export.exported import decided_tiny_model
from support.export.kept_traces import kept_traces
from tritonclient import grpc as triton

REQUESTS = 1000
# Sizes that come first make regions and arenas grow, which is no leak: three times as many as there are canvases.
WARM_UP = 300
# A leak of a request's smallest canvas, 96 x 128 pixels of 3 bytes, would be 35 MiB after a thousand; a sixth of that.
LIMIT_MIB = 6.0


@pytest.mark.long
@pytest.mark.triton
@pytest.mark.parametrize("ops", ["library", "bodies"])
def test_it_does_not_grow(ops: str, tmp_path: Path) -> None:
    device.custom_ops()
    with kept_traces():
        export_model(decided_tiny_model(), "0" * 64, tmp_path / "artifact")
    assemble(tmp_path / "artifact", tmp_path / "repository")
    if ops == "bodies":
        (tmp_path / "repository" / CUSTOM_OPS_PLACE).unlink()
    rng = np.random.default_rng(0)
    sides = rng.integers(20, 160, (WARM_UP + REQUESTS, 2))
    noise = rng.integers(0, 256, (160, 160, 3), np.uint8)
    with (
        TritonServer(tmp_path / "repository", drain_s=1) as server,
        triton.InferenceServerClient(server.grpc_url) as client,
    ):
        resident = []
        for number, (height, width) in enumerate(sides, 1):
            send(client, [png(noise[:height, :width])])
            if number >= WARM_UP and number % 100 == 0:
                resident.append(sum(process.resident_mib for process in server_memory(server.grpc_url)))
    # The least of the last third over the least of the first: what comes and goes with a request is in neither.
    growth = min(resident[-3:]) - min(resident[:3])
    assert growth < LIMIT_MIB, resident
