"""The lines that a machine without a GPU has, of one small network with masks and keypoints."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from maskline_export.manifest import load_artifact
from maskline_export.onnx_stages.to_onnx import export_checkpoint
from maskline_export.precision.int8_cpu.artifact import quantise_artifact
from maskline_export.precision.low_types import is_feature
from maskline_export.precision.to_typed import type_artifact
from maskline_export.verify.comparison import compare
from maskline_export.verify.engines_command import calibration_photos
from maskline_export.verify.images import ladder_images
from maskline_export.verify.lines.found import Line, Picture
from maskline_export.verify.lines.onnx_line import OnnxLine
from maskline_export.verify.lines.stage_line import StageLine
from maskline_export.verify.onnx_runtime import OnnxPipeline, Tensors
from maskline_export.verify.rows import ParityReport
from maskline_host import custom_ops_path
from maskline_train.checkpoint import save_model
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.spec import KeypointHeadSpec
from support.export.faults import Fault, planted
from support.export.kept_traces import kept_traces
from support.models.tiny import tiny_model, tiny_spec

KEYPOINTS = KeypointHeadSpec(names=("top", "left", "right"), pooled_side=7, num_convs=1, channels=8)


@dataclasses.dataclass(frozen=True)
class Network:
    """A checkpoint and its float32 artifact."""

    model: MaskRCNN
    checkpoint: Path
    artifact: Path

    @functools.cached_property
    def int8(self) -> Path:
        """The artifact in int8 for a CPU."""
        folder = self.artifact.with_name("int8")
        photos = calibration_photos(self.artifact.with_name("photos"), self.artifact)
        quantise_artifact(self.artifact, folder, photos, allow_slower=True)
        return folder

    def pictures(self, count: int) -> list[Picture]:
        """The last pictures of the ladder, of which the very last is made smaller."""
        ladder = list(ladder_images(self.model.spec.preprocessing.shorter_side_px))[-count:]
        return [Picture.of(name, pixels, self.model.spec) for name, pixels in ladder]

    def report(self, line: Line, count: int = 2) -> ParityReport:
        """A line's table."""
        (report,) = compare(self.model, [line], self.pictures(count))
        return report


def make_network(root: Path) -> Network:
    """Whose scores, boxes, masks and heatmaps are spread."""
    model = tiny_model(dataclasses.replace(tiny_spec(), keypoint_head=KEYPOINTS))
    with torch.no_grad():
        model.box_head.class_logits.bias.copy_(torch.tensor([2.0, -6.0, -6.0, 0.0]))
    save_model(root / "checkpoint", model)
    with kept_traces():
        export_checkpoint(root / "checkpoint", root / "artifact")
    return Network(model, root / "checkpoint", root / "artifact")


def bodies(network: Network, fault: Fault, out: Path) -> Line:
    """Float32 by the bodies of our ops."""
    folder = planted(network.artifact, out, fault)
    return OnnxLine(folder, load_artifact(folder), threads=1)


def library(network: Network, fault: Fault, out: Path) -> Line:
    """Float32 with libmaskline_ort.so."""
    folder = planted(network.artifact, out, fault)
    return OnnxLine(folder, load_artifact(folder), threads=1, library=custom_ops_path())


def half(network: Network, fault: Fault, out: Path) -> Line:
    """Typed as fp16, of an artifact that has the fault."""
    folder = planted(network.artifact, out / "float32", fault)
    type_artifact(folder, out / "fp16", "fp16", None)
    return OnnxLine(out / "fp16", load_artifact(out / "fp16"), threads=1)


def int8(network: Network, fault: Fault, out: Path) -> Line:
    """Int8 for a CPU."""
    folder = planted(network.int8, out, fault)
    return OnnxLine(folder, load_artifact(folder), threads=1)


def stages(network: Network, fault: Fault, out: Path) -> Line:
    """Whole stages that round features to fp16, as engines do, of which nothing inside can be seen."""
    folder = planted(network.artifact, out / "float32", fault)
    type_artifact(folder, out / "fp16", "fp16", None)
    return StageLine("engines", "fp16", tuple(load_artifact(folder).stages), rounding(out / "fp16"), network.model.spec)


def rounding(folder: Path) -> Callable[[str, Tensors], Tensors]:
    """The stages of a typed artifact, which give float32 features back as engines do."""
    chain = OnnxPipeline(folder, threads=1).stages

    def run(stage: str, tensors: Tensors) -> Tensors:
        found = chain[stage].run(tensors)
        return {name: array.astype(np.float32) if is_feature(name) else array for name, array in found.items()}

    return run


LINES = {"bodies": bodies, "library": library, "fp16": half, "int8-cpu": int8, "engines": stages}
