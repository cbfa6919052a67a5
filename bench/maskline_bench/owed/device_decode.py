"""Images decoded and resized on the device: the host's detections or not, how much faster, how far its pixels."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

from maskline_client.bench.calls import Caller
from maskline_client.bench.closed_loop import run_closed_loop
from maskline_client.bench.images import BenchImage
from maskline_serve.repository.assemble import sources
from maskline_serve.repository.config import with_parameter
from maskline_serve.repository.on_disk import Repository
from maskline_serve.server.triton_server import TritonServer

from maskline_bench.decode_difference import measure as pixels
from maskline_bench.made_model import MadeModel
from maskline_bench.owed.same_answers import difference, served
from maskline_bench.owed.task import Device, assembled, run_task, scratch

HOST, DEVICE = "host", "device"
_ROUNDS = {"cuda": 4, "cpu": 1}
_SECONDS = {"cuda": 10.0, "cpu": 2.0}  # of a turn
_IN_FLIGHT = {"cuda": 48, "cpu": 2}
_TIMEOUT_S = 120.0


def measure(made: MadeModel, device: Device) -> dict[str, Any]:
    """Both ways served at once and timed in turn: JPEG files in, run lengths out."""
    pictures = made.pictures()
    images = tuple(
        BenchImage(f"{index}", each.file, *each.picture.shape[:2]) for index, each in enumerate(pictures)
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        urls = {}
        for decode in (HOST, DEVICE):
            folder = Path(stack.enter_context(scratch()))
            urls[decode] = stack.enter_context(TritonServer(_repository(made, device, folder, decode))).grpc_url
        found = {decode: served(url, [each.file for each in pictures]) for decode, url in urls.items()}
        turns: dict[str, list[dict[str, Any]]] = {decode: [] for decode in urls}
        for index in range(_ROUNDS[device]):
            for decode, url in urls.items():
                turns[decode].append(_turn(url, images, device))
            made.tell(f"round {index + 1} of {_ROUNDS[device]}")
    return {
        "pixels": pixels(device),
        "detections": difference(found[DEVICE], found[HOST]),
        "in_flight": _IN_FLIGHT[device],
        "turns": turns,
        "images_per_second": {decode: _rate(each) for decode, each in turns.items()},
        "errors": sum(turn["errors"] for each in turns.values() for turn in each),
    }


def _repository(made: MadeModel, device: Device, folder: Path, decode: str) -> Path:
    """On a CPU, where `assemble` has no such option, the parameter is set by hand and the code for it put there."""
    if device == "cuda":
        return assembled(made, device, folder, "--decode", decode)
    repository = assembled(made, device, folder)
    preprocess = Repository.load(repository).model("preprocess")
    code = sources()[0] / "preprocess" / "1"
    shutil.copytree(code, preprocess / "1", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    config = preprocess / "config.pbtxt"
    text = with_parameter(config.read_text(encoding="utf-8"), "decode", decode, config)
    config.write_text(text, encoding="utf-8")
    return repository


def _turn(url: str, images: tuple[BenchImage, ...], device: Device) -> dict[str, Any]:
    """Answers, errors and seconds of some seconds of load."""
    loop = run_closed_loop(
        lambda: Caller(url, "maskrcnn", _TIMEOUT_S), images, _IN_FLIGHT[device], requests=None, seconds=_SECONDS[device]
    )
    return {"answers": len(loop.latencies_ms), "errors": sum(loop.errors.values()), "seconds": loop.wall_s}


def _rate(turns: list[dict[str, Any]]) -> float:
    return float(sum(turn["answers"] for turn in turns) / sum(turn["seconds"] for turn in turns))


if __name__ == "__main__":
    run_task("owed device_decode", measure)
