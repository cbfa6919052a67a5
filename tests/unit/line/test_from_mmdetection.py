"""`maskline.from_mmdetection`: from a file to its answers, in one line."""

from __future__ import annotations

from pathlib import Path

import maskline
import pytest
from support.export.kept_traces import kept_traces
from support.models import foreign
from support.models.mmdetection_configs import FPN, config_of, written


def test_it_answers_what_mmdetection_answers(tmp_path: Path) -> None:
    with kept_traces():
        detector = maskline.from_mmdetection(foreign.checkpoint(FPN), written(config_of(FPN), tmp_path))
    with detector:
        for golden in foreign.goldens(FPN).values():
            found = detector.detect(golden.path)
            foreign.found_in(golden, found.boxes, found.scores, found.labels)


def test_what_is_not_mmdetection_s_is_named() -> None:
    with pytest.raises(ValueError, match="got weights of detectron2, expected mmdetection; use from_detectron2"):
        maskline.from_mmdetection(foreign.checkpoint("detectron2/mask_fpn_bgr"))
