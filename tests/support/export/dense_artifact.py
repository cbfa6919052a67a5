"""Writes an artifact with dense bodies, for `make test-tensorrt`: the tiny model, or a random ResNet-50-FPN.

Run: PYTHONPATH=tests python -m support.export.dense_artifact out/tensorrt --full
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from maskline_export.onnx_stages.to_onnx import export_model
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.spec import ModelSpec
from support.export.exported import decided_tiny_model

FULL_CLASSES = tuple(f"class {index}" for index in range(80))  # as many as COCO has


def main(
    out: Path,
    full: Annotated[bool, typer.Option("--full", help="ResNet-50-FPN, random weights, 800x1344.")] = False,
) -> None:
    """Export one of the two.

    Example: python -m support.export.dense_artifact out/tensorrt --full
    """
    model = full_model(ModelSpec(classes=FULL_CLASSES)) if full else decided_tiny_model()
    export_model(model, "0" * 64, out, "dense")


def full_model(spec: ModelSpec) -> MaskRCNN:
    """Random weights of which the last layers are scaled so that scores, boxes and masks are spread."""
    torch.manual_seed(0)
    model = MaskRCNN(spec).eval()
    mask_head = model.mask_head
    assert mask_head is not None
    layers = (
        (model.rpn_head.logits, 3.0),
        (model.rpn_head.deltas, 0.3),
        (model.box_head.class_logits, 0.6),
        (model.box_head.box_deltas, 1.0),
        (mask_head.mask_logits, 30.0),
    )
    with torch.no_grad():
        for layer, factor in layers:
            layer.weight.mul_(factor)
    return model


if __name__ == "__main__":
    typer.run(main)
