"""`maskline.from_detectron2`: from a training run's files to its answers, in one line."""

from __future__ import annotations

from pathlib import Path

import maskline
import pytest
import torch
from maskline_client import LocalDetector
from support.export.kept_traces import kept_traces
from support.models import foreign

NETWORK = "detectron2/mask_fpn_bgr"
FOLDER = foreign.FOLDER / NETWORK


def test_it_answers_what_detectron2_answers(tmp_path: Path) -> None:
    with kept_traces():
        detector = maskline.from_detectron2(
            FOLDER / "model_final.pth",
            FOLDER / "config.yaml",
            classes=foreign.classes(NETWORK),
            artifact=tmp_path / "artifact",
        )
    with detector, LocalDetector(tmp_path / "artifact") as again:
        for golden in foreign.goldens(NETWORK).values():
            found = detector.detect(golden.path)
            foreign.found_in(golden, found.boxes, found.scores, found.labels)
            assert again.detect(golden.path).rle == found.rle


def test_what_is_not_detectron2_s_is_named(tmp_path: Path) -> None:
    torch.save({f"rpn.head.conv.{i}.0.bias": torch.zeros(3) for i in range(20)}, tmp_path / "model.pth")
    with pytest.raises(ValueError, match="got weights of torchvision, expected detectron2; use from_torchvision"):
        maskline.from_detectron2(tmp_path / "model.pth")
    with pytest.raises(ValueError, match="--classes"):
        maskline.from_detectron2(FOLDER / "model_final.pth", FOLDER / "config.yaml")
