"""A network of another framework through the whole line: imported, exported, served; the client gets its answers."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from maskline_client import Detector
from maskline_export.onnx_stages.to_onnx import export_checkpoint
from maskline_serve.repository.assemble import assemble
from maskline_serve.repository.libraries import CUSTOM_OPS_PLACE, host_place
from maskline_serve.repository.on_disk import Repository
from maskline_serve.server.triton_server import TritonServer
from maskline_train.checkpoint import save_model
from maskline_train.convert.file import import_file
from support.export.kept_traces import kept_traces
from support.models import foreign


@pytest.mark.triton
@pytest.mark.parametrize(
    "network",
    [
        pytest.param("detectron2/mask_fpn_bgr", marks=pytest.mark.long),
        pytest.param("detectron2/mask_c4", marks=pytest.mark.long),
        pytest.param("detectron2/keypoint_fpn", marks=pytest.mark.long),
        "mmdetection/mask_fpn",
        pytest.param("mmdetection/mask_c4_caffe", marks=pytest.mark.long),
    ],
)
def test_the_client_gets_the_source_s_answers(network: str, tmp_path: Path) -> None:
    """At each size that there are answers of, with our libraries where they were built, and by bodies and numpy."""
    ways: dict[str, list[int]] = {"repository": [], "without": []}
    number_of: dict[str, int] = dict.fromkeys(ways, 0)
    for number, (file, settings) in enumerate(foreign.sizes(network).items()):
        folder = tmp_path / str(number)
        options = foreign.options(network, settings=settings)
        save_model(folder / "checkpoint", import_file(foreign.checkpoint(network), options).model)
        with kept_traces():
            export_checkpoint(folder / "checkpoint", folder / "artifact")
        assemble(folder / "artifact", folder / "repository")
        shutil.copytree(folder / "repository", folder / "without")
        (folder / "without" / CUSTOM_OPS_PLACE).unlink(missing_ok=True)
        host_library = host_place(Repository.load(folder / "without"))
        shutil.rmtree((folder / "without" / host_library).parent, ignore_errors=True)
        for way in ways:
            objects, apart = ask(folder / way, foreign.goldens(network, file))
            number_of[way] += objects
            ways[way] += apart
    assert number_of["repository"] == number_of["without"]
    for apart in ways.values():
        if "mask" in network:
            foreign.assert_nearly_all_equal(apart)


def ask(repository: Path, goldens: Mapping[str, foreign.Golden]) -> tuple[int, list[int]]:
    """Compare the answers with the source's; returns the number of objects, and the pixels that each mask is off by."""
    objects, apart = 0, list[int]()
    with TritonServer(repository, drain_s=1) as server, Detector(server.grpc_url) as detector:
        answers = detector.detect_many(golden.path for golden in goldens.values())
        for golden, found in zip(goldens.values(), answers, strict=True):
            order = foreign.found_in(golden, found.boxes, found.scores, found.labels)
            objects += len(order)
            assert (found.rle is None) == (golden.masks is None)
            if found.rle is not None:
                masks = ({"size": list(found.image_size), "counts": counts} for counts in found.rle)
                apart += foreign.masks_apart(golden, order, masks)
            assert (found.keypoints is None) == (golden.keypoints is None)
            if found.keypoints is not None:
                foreign.keypoints_in(golden, found.keypoints, order)
    return objects, apart
