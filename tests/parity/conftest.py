"""Artifacts that several files look at, exported once a session."""

from __future__ import annotations

import pytest
import torch
from exported import Exported
from maskline_export.to_onnx import export_model
from tiny import tiny_model


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    model = tiny_model()
    with torch.no_grad():
        model.box_head.class_logits.bias.copy_(torch.tensor([2.0, -6.0, -6.0, 0.0]))
        model.mask_head.mask_logits.bias.copy_(torch.tensor([0.1, -0.2, 0.3]))
    root = tmp_path_factory.mktemp("exported")
    export_model(model, "0" * 64, root / "ort", "ort")
    export_model(model, "0" * 64, root / "dense", "dense")
    return Exported(model, root / "ort", root / "dense")
