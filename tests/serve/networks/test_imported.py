"""A network of detectron2 through the whole line: imported, exported, served; the client gets detectron2's answers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from maskline_client import Detector
from maskline_export.onnx_stages.to_onnx import export_checkpoint
from maskline_serve.repository.assemble import assemble
from maskline_serve.repository.libraries import CUSTOM_OPS_PLACE, HOST_PLACE
from maskline_serve.server.triton_server import TritonServer
from maskline_train.checkpoint import save_model
from maskline_train.convert.file import import_file
from support.export.kept_traces import kept_traces
from support.models import foreign


@pytest.mark.triton
@pytest.mark.parametrize(
    "network",
    [
        "detectron2/mask_fpn_bgr",
        pytest.param("detectron2/mask_c4", marks=pytest.mark.long),
        pytest.param("detectron2/keypoint_fpn", marks=pytest.mark.long),
    ],
)
def test_the_client_gets_the_source_s_answers(network: str, tmp_path: Path) -> None:
    """With our libraries where they were built, and by the bodies and numpy alone."""
    save_model(tmp_path / "checkpoint", import_file(foreign.checkpoint(network), foreign.options(network)).model)
    with kept_traces():
        export_checkpoint(tmp_path / "checkpoint", tmp_path / "artifact")
    assemble(tmp_path / "artifact", tmp_path / "repository")
    served = ask(tmp_path / "repository", network)
    without = tmp_path / "without"
    shutil.copytree(tmp_path / "repository", without)
    (without / CUSTOM_OPS_PLACE).unlink(missing_ok=True)
    shutil.rmtree((without / HOST_PLACE).parent, ignore_errors=True)
    assert served == ask(without, network)


def ask(repository: Path, network: str) -> int:
    """Compare the answers with the source's; returns the number of objects."""
    goldens, number = foreign.goldens(network).values(), 0
    apart: list[int] = []
    with TritonServer(repository, drain_s=1) as server, Detector(server.grpc_url) as detector:
        for golden, found in zip(goldens, detector.detect_many(golden.path for golden in goldens), strict=True):
            order = foreign.found_in(golden, found.boxes, found.scores, found.labels)
            number += len(order)
            if found.rle is not None:
                masks = ({"size": list(found.image_size), "counts": counts} for counts in found.rle)
                apart += foreign.masks_apart(golden, order, masks)
            assert (found.keypoints is None) == (golden.keypoints is None)
            if found.keypoints is not None:
                foreign.keypoints_in(golden, found.keypoints, order)
    if apart:
        foreign.assert_nearly_all_equal(apart)
    return number
