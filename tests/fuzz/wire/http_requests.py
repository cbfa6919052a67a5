"""Requests over HTTP that lie, JSON and Triton's binary extension: each is answered in time, and none ends the server.

What comes back is HTTP with a status: a good one, or 400 to 499 for a request that is wrong; beyond that what Triton's
front end of release 24.10 says by itself of a body whose JSON is none or lacks something (500), of a compression (501).
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from atheris import FuzzedDataProvider
from fuzz.edits import edited_json
from fuzz.wire.served import HTTP, address
from serve import standin

FRONT_END = tuple(
    b'{"error":"' + said for said in (b"failed to parse the request JSON", b"Unable to parse", b"Unsupported compr")
)
DEADLINE_S = 60.0  # for a loaded machine; an idle one answers in milliseconds
PATHS = (
    "/v2/models/maskrcnn/infer",
    "/v2/models/maskrcnn_raw/infer",
    "/v2/models/maskrcnn_engines/infer",
    "/v2/models/none/infer",
    "/v2/models/maskrcnn/versions/1/infer",
    "/v2/models/maskrcnn/versions/x/infer",
    "/v2/models/maskrcnn",
    "/v2/models/maskrcnn/config",
    "/v2/health/ready",
    "/v2/models/../../etc/passwd",
)
_PICTURE = standin.picture(3)
_BODY = {
    "inputs": [{"name": "image", "shape": [1, 1], "datatype": "BYTES", "parameters": {"binary_data_size": 0}}],
    "outputs": [{"name": "boxes", "parameters": {"binary_data": True}}, {"name": "mask_rle"}],
    "parameters": {"artifact_sha256": "", "binary_data_output": True},
}


def prepare(_: Path) -> Callable[[bytes], None]:
    """The target; `fuzz.run` starts the server."""
    host, _, port = address(HTTP).rpartition(":")

    def run(data: bytes) -> None:
        choices = FuzzedDataProvider(data)
        is_cut = choices.ConsumeIntInRange(0, 9) == 1
        sent = request(choices, is_cut)
        with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as connection:
            connection.sendall(sent)
            if is_cut:  # the server waits for the rest: there is none
                return
            answer = HTTPResponse(connection)
            try:
                answer.begin()
                text = answer.read()
            except (ConnectionError, HTTPException):  # it may hang up on what is no HTTP
                return
            is_expected = answer.status < 500 or text.startswith(FRONT_END)
            assert is_expected, (answer.status, text[:200], sent[:300])

    return run


def request(choices: FuzzedDataProvider, is_cut: bool) -> bytes:
    """A whole request, or one whose body ends before its length."""
    path = choices.PickValueInList(list(PATHS))
    way = choices.ConsumeIntInRange(0, 2)
    binary = struct.pack("<I", len(_PICTURE)) + _PICTURE
    body = json.loads(json.dumps(_BODY))
    body["inputs"][0]["parameters"]["binary_data_size"] = len(binary)
    if way == 0:
        body["inputs"][0]["data"] = ["x"]
        del body["inputs"][0]["parameters"]
        binary = b""
    text = json.dumps(edited_json(body, choices) if choices.ConsumeBool() else body).encode()
    if choices.ConsumeIntInRange(0, 15) == 1:
        text = b"[" * choices.PickValueInList([10, 500, 100_000])
    json_length: object = len(text)
    if choices.ConsumeIntInRange(0, 5) == 1:
        json_length = choices.PickValueInList([0, 1, len(text) - 1, len(text) + len(binary) + 1, 2**63, -1, "x", ""])
    if choices.ConsumeIntInRange(0, 9) == 1:
        binary = binary[: choices.ConsumeIntInRange(0, len(binary))]
    content = text + binary
    length = len(content) + (choices.ConsumeIntInRange(1, 99) if is_cut else 0)
    method = choices.PickValueInList(["POST", "POST", "POST", "GET", "PUT", "X"])
    headers = {"Host": "x", "Content-Length": length, "Inference-Header-Content-Length": json_length}
    if way == 0 and choices.ConsumeBool():
        del headers["Inference-Header-Content-Length"]
    if choices.ConsumeIntInRange(0, 9) == 1:
        headers["Content-Encoding"] = choices.PickValueInList(["gzip", "deflate", "x"])
    lines = "".join(f"{name}: {value}\r\n" for name, value in {**headers, "Connection": "close"}.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + content
