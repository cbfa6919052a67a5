"""Memory of the server, and of its GPU, under minutes of requests of mixed sizes."""

from __future__ import annotations

import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
from maskline_client.bench.calls import Caller
from maskline_client.bench.closed_loop import run_closed_loop
from maskline_client.bench.images import BenchImage
from maskline_client.bench.machine import server_memory
from maskline_serve.server.triton_server import TritonServer
from PIL import Image

from maskline_bench.made_model import MadeModel
from maskline_bench.owed.task import Device, assembled, run_task, scratch
from maskline_bench.peers import jpeg

# Two runs of these seconds make the ten minutes that are claimed.
SECONDS = {"cuda": 300.0, "cpu": 12.0}
SAMPLES = 30
IN_FLIGHT = {"cuda": 48, "cpu": 2}
_SCALES = (0.35, 0.6, 1.0, 1.5, 2.5)  # of the pictures' sides, which lie, stand and are square
_SETTLED = 1 / 3  # of the samples: pools and caches have grown to what they need
_TIMEOUT_S = 120.0


def measure(made: MadeModel, device: Device) -> dict[str, Any]:
    """Samples of the memory in use, and by how much the last third lies above the second."""
    images = mixed_sizes(made)
    samples: list[dict[str, float]] = []
    errors: dict[str, int] = {}
    with scratch() as folder, TritonServer(assembled(made, device, Path(folder))) as server:
        start = time.perf_counter()
        for index in range(SAMPLES):
            loop = run_closed_loop(
                lambda: Caller(server.grpc_url, "maskrcnn", _TIMEOUT_S),
                images,
                IN_FLIGHT[device],
                requests=None,
                seconds=SECONDS[device] / SAMPLES,
            )
            for text, count in loop.errors.items():
                errors[text] = errors.get(text, 0) + count
            samples.append({
                "second": time.perf_counter() - start,
                "answers": len(loop.latencies_ms),
                "host_mib": sum(process.resident_mib for process in server_memory(server.grpc_url)),
                "gpu_mib": gpu_memory_mib() if device == "cuda" else 0.0,
            })  # fmt: skip
            made.tell(f"sample {index + 1} of {SAMPLES}")
    return {
        "images": [[image.height, image.width] for image in images],
        "in_flight": IN_FLIGHT[device],
        "samples": samples,
        "answers": sum(sample["answers"] for sample in samples),
        "errors": errors,
        "growth_mib": {name: growth([sample[name] for sample in samples]) for name in ("host_mib", "gpu_mib")},
    }


def mixed_sizes(made: MadeModel) -> tuple[BenchImage, ...]:
    """The pictures at several sizes."""
    found = []
    for index, picture in enumerate(made.pictures()):
        for scale in _SCALES:
            height, width = (max(16, round(side * scale)) for side in picture.picture.shape[:2])
            image = Image.fromarray(picture.picture).resize((width, height))
            found.append(BenchImage(f"{index} times {scale}", jpeg(np.asarray(image)), height, width))
    return tuple(found)


def growth(values: list[float]) -> float:
    """Median of the last third less that of the second."""
    third = round(len(values) * _SETTLED)
    return statistics.median(values[-third:]) - statistics.median(values[third : 2 * third])


def gpu_memory_mib() -> float:
    """In use on the first GPU, by whomever."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0])


if __name__ == "__main__":
    run_task("owed steady_memory", measure)
