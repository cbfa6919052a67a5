"""`maskline.from_detectron` and `from_maskrcnn_benchmark`: from a file to a detector, in one line."""

from __future__ import annotations

from pathlib import Path

import maskline
import numpy as np
import pytest
import torch
from maskline_train.convert.check.answers import our_answer
from maskline_train.convert.file import import_file
from maskline_train.convert.options import ImportOptions
from support.export.kept_traces import kept_traces
from support.models import detectron_configs, detectron_files, detectron_specs, foreign


@pytest.mark.long
def test_a_detector_answers_what_the_imported_network_finds(tmp_path: Path) -> None:
    """Through ONNX Runtime, with boxes of first and last pixels."""
    network = "detectron2/mask_fpn_bgr"
    source = import_file(foreign.checkpoint(network), foreign.options(network)).model
    blobs = detectron_files.blobs_of_detectron(source.state_dict(), detectron_specs.FPN)
    config = detectron_configs.settings_of(detectron_specs.FPN)
    config["MODEL"]["NUM_CLASSES"] = source.spec.num_classes + 1
    path = detectron_files.save_detectron(tmp_path / "w.pkl", blobs, detectron_configs.dumped(config))
    model = import_file(path, ImportOptions(classes=source.spec.classes)).model
    with kept_traces(), maskline.from_detectron(path, classes=source.spec.classes) as detector:
        golden = foreign.goldens(network)["astronaut"]
        found, expected = detector.detect(golden.path), our_answer(model, golden.image)
        assert len(found.boxes) == len(expected.boxes) > 20
        distance = np.abs(found.boxes[:, None] - expected.boxes[None]).max(2)
        distance[found.labels[:, None] != expected.labels[None]] = np.inf
        assert sorted(distance.argmin(1)) == list(range(len(expected.boxes)))
        assert distance.min(1).max() <= foreign.BOX_PX


def test_what_is_of_another_framework_is_named(tmp_path: Path) -> None:
    torch.save({f"rpn.head.conv.{i}.0.bias": torch.zeros(3) for i in range(20)}, tmp_path / "model.pth")
    with pytest.raises(ValueError, match="got weights of torchvision, expected detectron; use from_torchvision"):
        maskline.from_detectron(tmp_path / "model.pth")
    with pytest.raises(ValueError, match="got weights of torchvision, expected maskrcnn_benchmark; use from_torchv"):
        maskline.from_maskrcnn_benchmark(tmp_path / "model.pth")
