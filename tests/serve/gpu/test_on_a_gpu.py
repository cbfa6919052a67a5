"""The target onnxruntime-gpu on a GPU: the same detections as on the CPU, every convolution on the card, none lost.

Nothing here has run yet: it needs a GPU, `maskline[gpu]` and PyTorch in one environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest
import torch
from maskline_bench.device_ops.as_sets import unmatched_share
from maskline_export.manifest import load_artifact
from maskline_export.verify.images import ladder_images
from maskline_serve.repository.assemble import Target, assemble
from maskline_serve.server.triton_server import TritonServer
from serve.conftest import Pending, send
from serve.gpu.conftest import on_the_cpu
from serve.same_answer import png
from tritonclient import grpc as triton

HAS_GPU = torch.cuda.is_available() and "CUDAExecutionProvider" in ort.get_available_providers()
MATCH_IOU = 0.9
# As `make bench-engines`: what differs between devices lies on a threshold.
MIN_MATCHED = 0.98
IN_FLIGHT = 48


@pytest.mark.gpu
@pytest.mark.triton
@pytest.mark.skipif(not HAS_GPU, reason="no GPU, or an ONNX Runtime without CUDA")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_detections_are_those_of_the_cpu(dense: Path, half: Path, tmp_path: Path, precision: str) -> None:
    artifact = {"fp32": dense, "fp16": half}[precision]
    assemble(artifact, tmp_path / "gpu", Target.ONNXRUNTIME_GPU)
    said, files = [], pictures(artifact)
    with TritonServer(tmp_path / "gpu", drain_s=5, show=said.append) as server:
        ours = alone_and_together(server.grpc_url, files)
    with TritonServer(on_the_cpu(artifact, tmp_path / "cpu"), drain_s=5) as server:
        theirs = alone_and_together(server.grpc_url, files)
    assert matched_share(ours, theirs) >= MIN_MATCHED
    left = [line for line in said if "on the CPU, not the GPU" in line]
    assert not [line for line in left if "Conv" in line or "MatMul" in line or "Gemm" in line], left


def pictures(artifact: Path) -> list[bytes]:
    return [png(pixels) for _, pixels in ladder_images(load_artifact(artifact).spec.preprocessing.shorter_side_px)]


def alone_and_together(url: str, files: list[bytes]) -> list[dict[str, Any]]:
    """An answer to each file sent alone, then to all of them in flight at once."""
    with triton.InferenceServerClient(url) as client:
        alone = [send(client, [file]) for file in files]
        pending = [Pending(client, [files[at % len(files)]]) for at in range(IN_FLIGHT)]
        return [*alone, *(each.answer() for each in pending)]


def matched_share(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> float:
    """Detections of all answers that have a partner of the same class and IoU 0.9, over the larger number."""
    matched = total = 0.0
    for one, other in zip(ours, theirs, strict=True):
        (boxes, labels), (others, names) = found(one), found(other)
        most = max(len(boxes), len(others))
        matched += most * (1 - unmatched_share(boxes, others, labels, names, MATCH_IOU)) if most else 0.0
        total += most
    assert total > 0
    return matched / total


def found(answer: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes [N, 4] and labels [N] of an answer to one image."""
    count = int(answer["num_detections"][0, 0])
    boxes, labels = (torch.from_numpy(answer[name][0, :count].copy()) for name in ("boxes", "labels"))
    return boxes, labels
