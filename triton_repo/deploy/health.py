"""Exit status 0 when a picture sent through the whole ensemble comes back right, 1 and one line when it does not.

For the health check of a container, which has no client of ours: standard library alone, Triton's HTTP protocol with
binary input. Readiness is not enough: Triton stays ready when the process of a model has died.

    python3 health.py --url http://127.0.0.1:8000 --model maskrcnn

Letters: D detections an image.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import struct
import sys
import urllib.error
import urllib.request
import zlib
from typing import Any

HEIGHT_PX, WIDTH_PX = 48, 64  # not square, so that a mix-up of the two shows
EDGE_PX = 0.01  # float32 rounding of the last pixel's edge


def picture() -> bytes:
    """A PNG file, a grey ramp."""
    row = b"\0" + bytes(range(0, 4 * WIDTH_PX, 4))  # each line begins with its filter, none
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", WIDTH_PX, HEIGHT_PX, 8, 0, 0, 0, 0),
        b"IDAT": zlib.compress(row * HEIGHT_PX),
        b"IEND": b"",
    }
    chunks = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def request(url: str, model: str) -> urllib.request.Request:
    """One inference of the picture; every output is asked for, so every step runs."""
    data = picture()
    tensor = struct.pack("<I", len(data)) + data
    size = {"binary_data_size": len(tensor)}
    image = {"name": "image", "shape": [1, 1], "datatype": "BYTES", "parameters": size}
    header = json.dumps({"inputs": [image]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(header)), "Content-Type": "application/octet-stream"}
    return urllib.request.Request(f"{url}/v2/models/{model}/infer", header + tensor, headers)


def problem(answer: dict[str, Any]) -> str:
    """What is wrong with an answer; empty when nothing is."""
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    if outputs["image_size"] != [HEIGHT_PX, WIDTH_PX]:
        return f"got image_size {outputs['image_size']}, expected {[HEIGHT_PX, WIDTH_PX]}"
    (count,), rows = outputs["num_detections"], len(outputs["scores"])
    if not 0 <= count <= rows:
        return f"got num_detections {count}, expected 0 to {rows}"
    if not all(math.isfinite(value) for value in (*outputs["boxes"], *outputs["scores"])):
        return "got boxes or scores that are not finite"
    limits = (WIDTH_PX, HEIGHT_PX)
    if not all(-EDGE_PX <= value <= limits[i % 2] + EDGE_PX for i, value in enumerate(outputs["boxes"])):
        return "got boxes outside the picture"
    return ""


def ask(url: str, model: str, timeout_s: float) -> str:
    """What is wrong with the server; empty when nothing is."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy stands before a loopback port
    try:
        with opener.open(request(url, model), timeout=timeout_s) as response:
            return problem(json.load(response))
    except urllib.error.HTTPError as error:
        return f"status {error.code}: {error.read(300).decode(errors='replace')}"
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    except (ValueError, KeyError, TypeError) as error:
        return f"got an answer that is not of the wire contract ({type(error).__name__}: {error})"


def main() -> int:
    """Run the command line."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--url", default="http://127.0.0.1:8000", help="where Triton's HTTP listens")
    words.add_argument("--model", default="maskrcnn", help="the ensemble that takes an image")
    words.add_argument("--timeout-s", type=float, default=20.0, help="for the answer, the wait in the queue included")
    given = words.parse_args()
    wrong = ask(given.url.rstrip("/"), given.model, given.timeout_s)
    if wrong:
        sys.stderr.write(f"{given.url}, {given.model}: {' '.join(wrong.split())}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
