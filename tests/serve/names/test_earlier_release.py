"""A repository of a release without revisions: loaded, examined, served, called, with a server and without one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from maskline_client import Detector
from maskline_serve.doctor import Level, examine
from maskline_serve.errors import ServeError
from maskline_serve.local.local_models import LocalModels
from maskline_serve.repository.assemble import assemble
from maskline_serve.repository.on_disk import Repository
from maskline_serve.server.triton_server import TritonServer
from serve import standin
from serve.conftest import DEADLINE_S, send
from serve.test_batches import LANDSCAPE, check_row
from serve.test_client import run
from support.earlier_release import without_revision
from tritonclient import grpc as triton

STEPS = {"preprocess", "backbone", "proposal", "mask", "postprocess", "postprocess_raw"}


@pytest.fixture(scope="module")
def earlier(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earlier") / "repository"
    assemble(artifact, folder)
    return without_revision(folder)


def test_it_is_loaded(earlier: Path) -> None:
    found = Repository.load(earlier)
    assert (found.name, found.revision, found.precision) == ("maskrcnn", "", "fp32")
    assert found.changes() == {}
    assert {path.name for path in found.models.iterdir()} == STEPS | {"maskrcnn", "maskrcnn_raw", "maskrcnn_engines"}
    assert found.model("backbone") == earlier / "models" / "backbone"


def test_it_answers_without_a_server_but_not_for_boxes_alone(earlier: Path, artifact: Path) -> None:
    picture = standin.picture(3, LANDSCAPE)
    old, new = LocalModels(earlier), LocalModels(artifact)
    try:
        expected = new.infer(picture)
        for name, array in old.infer(picture).items():
            np.testing.assert_array_equal(array, expected[name], err_msg=name)
        with pytest.raises(ServeError, match="without boxes on demand; assemble it again"):
            old.infer(picture, masks=False)
    finally:
        old.close()
        new.close()


@pytest.mark.triton
def test_doctor_finds_nothing_wrong(earlier: Path) -> None:
    findings = examine(earlier)
    assert [finding for finding in findings if finding.level is Level.ERROR] == []
    assert {finding.check for finding in findings} >= STEPS


@pytest.mark.triton
def test_it_is_served_and_called(earlier: Path) -> None:
    with TritonServer(earlier, drain_s=5) as server:
        with triton.InferenceServerClient(server.grpc_url) as client:
            check_row(send(client, [standin.picture(3, LANDSCAPE)]), 0, 3, LANDSCAPE)
        with Detector(server.grpc_url, deadline_s=DEADLINE_S) as detector:
            assert len(detector.detect(standin.picture(3))) == 3
        health = run("health", "--deep", "--url", server.grpc_url, "--deadline", DEADLINE_S)
    assert health.returncode == 0, health.stdout
    assert "model postprocess_raw" in health.stdout
    assert "maskrcnn_boxes" not in health.stdout


def test_one_of_this_release_takes_its_place(earlier: Path, artifact: Path, tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    assemble(artifact, folder)
    without_revision(folder)
    assert assemble(artifact, folder) is True
    assert Repository.load(folder).revision
