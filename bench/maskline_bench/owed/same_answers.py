"""The detections of the device, without a server and through Triton, against those of the CPU in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from maskline_client import Detections, Detector
from maskline_client.local.detector import LocalDetector
from maskline_serve.server.triton_server import TritonServer

from maskline_bench.made_model import MadeModel, same_pixels
from maskline_bench.owed.task import Device, assembled, run_task, scratch
from maskline_bench.serving.eager import Found
from maskline_bench.serving.gate import agreement, mean_mask_iou

LOCAL, TRITON = "LocalDetector, float32", "through Triton, as served"


def measure(made: MadeModel, device: Device) -> dict[str, Any]:
    """How many objects each way finds of those that the CPU finds, and how much their masks overlap."""
    files = [*(picture.file for picture in made.pictures()), *same_pixels(made.pictures())]
    with LocalDetector(made.artifact()) as detector:
        expected = [found_of(detector.detect(file)) for file in files]
    answers = {LOCAL: _local(made.artifact(), device, files)}  # it takes float32 alone
    with scratch() as folder, TritonServer(assembled(made, device, Path(folder))) as server:
        answers[TRITON] = served(server.grpc_url, files)
    return {"objects": sum(len(found.labels) for found in expected), "sides": {
        side: difference(found, expected) for side, found in answers.items()
    }}  # fmt: skip


def found_of(found: Detections) -> Found:
    """A client's answer in the form that answers are compared in."""
    assert found.rle is not None  # of a model with masks
    masks = [{"size": list(found.image_size), "counts": counts} for counts in found.rle]
    return Found(found.boxes, found.scores, found.labels.astype(np.int64), masks)


def _local(artifact: Path, device: Device, files: list[bytes]) -> list[Found]:
    with LocalDetector(artifact, device=device) as detector:
        return [found_of(detector.detect(file)) for file in files]


def served(url: str, files: list[bytes]) -> list[Found]:
    """What a server finds in each file."""
    with Detector(url) as detector:
        return [found_of(detector.detect(file)) for file in files]


def difference(found: list[Found], expected: list[Found]) -> dict[str, float]:
    """The share of objects that match, the mean IoU of their masks, the largest difference of their scores."""
    pairs = [agreement(ours, theirs) for ours, theirs in zip(found, expected, strict=True)]
    total = sum(max(pair.ours, pair.theirs) for pair in pairs)
    return {
        "matched": sum(pair.matched for pair in pairs) / total if total else 0.0,
        "mask_iou": mean_mask_iou(pairs),
        "score_error": max(pair.score_error for pair in pairs),
    }


if __name__ == "__main__":
    run_task("owed same_answers", measure)
