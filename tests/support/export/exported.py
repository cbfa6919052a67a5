"""What the session-wide fixture `exported` of tests/parity gives."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from maskline_export.onnx_stages.to_onnx import export_model
from maskline_export.precision.to_typed import type_artifact
from maskline_train.model.mask_rcnn import MaskRCNN
from support.models.tiny import tiny_model


@dataclasses.dataclass(frozen=True)
class Exported:
    """A tiny model and its two artifacts.

    Its class biases make a RoI whose features are all zero a sure object of class 0, so that a test decides by the
    region proposal outputs how many objects an image has.
    """

    model: MaskRCNN
    ort: Path
    dense: Path


def decided_tiny_model() -> MaskRCNN:
    """The tiny model with the class biases that `Exported` tells of."""
    model = tiny_model()
    with torch.no_grad():
        model.box_head.class_logits.bias.copy_(torch.tensor([2.0, -6.0, -6.0, 0.0]))
        model.mask_head.mask_logits.bias.copy_(torch.tensor([0.1, -0.2, 0.3]))
    return model


def export_tiny(root: Path) -> Exported:
    """Export the tiny model with both bodies below `root`, but for what is there already."""
    model = decided_tiny_model()
    if not (root / "ort").exists():
        export_model(model, "0" * 64, root / "ort", "ort")
    if not (root / "dense").exists():
        export_model(model, "0" * 64, root / "dense", "dense")
    return Exported(model, root / "ort", root / "dense")


def typed_artifacts(exported: Exported, root: Path) -> dict[tuple[str, str], Path]:
    """(bodies, precision) -> folder, for both bodies and both 16-bit types."""
    folders = {}
    for bodies, source in (("ort", exported.ort), ("dense", exported.dense)):
        for precision in ("fp16", "bf16"):
            folders[bodies, precision] = root / f"{bodies}_{precision}"
            type_artifact(source, folders[bodies, precision], precision, None)  # type: ignore[arg-type]
    return folders
