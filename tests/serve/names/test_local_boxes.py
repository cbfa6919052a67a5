"""Boxes alone without a server: the boxes of the whole answer, and no stage for masks or keypoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from maskline_serve.local.local_models import LocalModels
from maskline_serve.repository.names import word_of
from serve import standin

BOXES = {"num_detections", "boxes", "scores", "labels", "image_size"}


@pytest.mark.parametrize("kind", ["masks alone", *standin.VARIANTS])
def test_boxes_are_those_of_the_whole_answer(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = LocalModels(standin.write_artifact(tmp_path / "artifact", standin.VARIANTS.get(kind, standin.SPEC)))
    ran: list[str] = []
    run = models._run
    monkeypatch.setattr(models, "_run", lambda name, request: ran.append(word_of(name)) or run(name, request))
    try:
        for count in (0, 3, 100):
            whole = models.infer(standin.picture(count, (40, 80)))
            ran.clear()
            boxes = models.infer(standin.picture(count, (40, 80)), masks=False)
            assert ran == ["preprocess", "backbone", "proposal", "postprocess_boxes"]
            assert {*boxes} == BOXES
            assert boxes["num_detections"].item() == count
            for name in BOXES:
                np.testing.assert_array_equal(boxes[name], whole[name], err_msg=name)
    finally:
        models.close()
