"""Runs an artifact's stages on images and looks at the tensors that are to be rounded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx

from maskline_export.precision.int8_cpu.plan import Plan
from maskline_export.precision.int8_cpu.ranges import Observed
from maskline_export.verify.onnx_runtime import OnnxModel, Tensors


class ObservedStage:
    """A float32 stage that also gives the tensors of its plan."""

    def __init__(self, model: onnx.ModelProto, plan: Plan, images: int, library: Path | None) -> None:
        shown = onnx.ModelProto()
        shown.CopyFrom(model)
        there = {value.name for value in model.graph.output}
        own = [name for name, source in plan.tensors.items() if name == source]
        shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in own if name not in there)
        self._session = OnnxModel(shown, library=library)
        self._outputs = [value.name for value in model.graph.output]
        self.seen = {name: Observed(images) for name in own}

    def run(self, tensors: Tensors, seed: int) -> Tensors:
        """The stage's outputs by name; `seed` of the sample that is kept."""
        found = self._session.run(tensors)
        for name, observed in self.seen.items():
            observed.add(found[name].astype(np.float32, copy=False), seed)
        return {name: found[name] for name in self._outputs}


def observe(
    stages: Mapping[str, tuple[onnx.ModelProto, Plan]], images: Iterable[Tensors], total: int, library: Path | None
) -> tuple[dict[str, dict[str, Observed]], int]:
    """Run each of `total` images through all stages; returns what was seen by stage and tensor, and the detections."""
    observed = {name: ObservedStage(model, plan, total, library) for name, (model, plan) in stages.items()}
    detections = 0
    for index, tensors in enumerate(images):
        values = dict(tensors)
        for stage in observed.values():
            values |= stage.run(values, index)
        detections += int(values["num_detections"].sum())
    return {name: stage.seen for name, stage in observed.items()}, detections
