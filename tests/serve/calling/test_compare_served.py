"""Two real servers compared: the second one's scores are lower by a tenth, and it is sure of fewer objects."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from maskline_client.cli import main
from maskline_serve.repository.assemble import assemble
from maskline_serve.server.triton_server import TritonServer
from serve import standin
from support.processes.in_process import call

pytestmark = pytest.mark.triton

SIZE = (40, 60)  # multiples of 20, so that the stand-in's masks are whole pixels
COUNTS = (0, 3, 100)  # objects of the images


def test_what_differs_is_what_was_made_to_differ(server: TritonServer, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for count in COUNTS:
        (tmp_path / "in" / f"{count}.png").write_bytes(standin.picture(count, SIZE))
    assemble(standin.write_artifact(tmp_path / "artifact", best_score=0.89), tmp_path / "repository")
    told, page = tmp_path / "told.json", tmp_path / "page.html"
    with TritonServer(tmp_path / "repository", drain_s=1) as other:
        words = ("--images", tmp_path / "in", "--url", server.grpc_url, "--url-b", other.grpc_url, "--deadline", 120)
        files = ("--json", told, "--page", page, "--score-thresh", 0.5975)
        assert call(main, "compare", "maskrcnn", "maskrcnn", *map(str, (*words, *files))) == 0
    figures = json.loads(told.read_text())["figures"]
    # Object d has the score 0.99 - 0.005 d, or 0.89 - 0.005 d: the first 79, or 59, have 0.6 or more. Where one side
    # alone is sure of an object, the other one has it all the same.
    assert (figures["objects_a"], figures["objects_b"], figures["both"]) == (3 + 79, 3 + 59, 3 + 79)
    assert (figures["agreement"], figures["label_flips"], figures["images_of_other_count"]) == (1.0, 0, 1)
    assert (figures["box_iou_least"], figures["mask_iou_least"]) == pytest.approx((1.0, 1.0), abs=1e-4)  # float32 px
    assert figures["score_change_mean"] == pytest.approx(-0.1, abs=1e-6)
    assert min(figures["latency_ms_a"], figures["latency_ms_b"]) > 0
