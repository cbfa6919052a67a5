"""Faults to plant in an artifact: weights that are off, an op with another attribute, names in another order."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from maskline_export.custom_ops import classwise_nms, multiscale_roi_align, proposal_nms
from maskline_export.custom_ops.body import node_attributes
from maskline_export.manifest import FILE, Manifest, load_artifact, sha256
from maskline_export.verify.probes import custom_node
from onnx import helper, numpy_helper

Fault = Callable[[Path], None]  # changes a copy of an artifact
_OPS = {
    "ProposalNMS": (proposal_nms.ProposalNMS, proposal_nms.body_ort),
    "ClasswiseNMS": (classwise_nms.ClasswiseNMS, classwise_nms.body_ort),
    "MultiscaleRoIAlign": (multiscale_roi_align.MultiscaleRoIAlign, multiscale_roi_align.body_ort),
}


def planted(artifact: Path, out: Path, fault: Fault) -> Path:
    """A copy with a fault in it, whose manifest vouches for it: an honest reader of files sees nothing."""
    shutil.copytree(artifact, out)
    fault(out)
    manifest = Manifest.from_dict(json.loads((out / FILE).read_text()))
    stages = {
        name: dataclasses.replace(stage, sha256=sha256(out / stage.file)) for name, stage in manifest.stages.items()
    }
    labels = dataclasses.replace(manifest.labels, sha256=sha256(out / manifest.labels.file))
    dataclasses.replace(manifest, stages=stages, labels=labels).save(out)
    return out


def weights(stage: str, ending: str, change: Callable[[np.ndarray], np.ndarray]) -> Fault:
    """Another tensor of a stage, found by the end of its name."""

    def fault(folder: Path) -> None:
        model = onnx.load(folder / f"{stage}.onnx")
        tensor = next(t for t in model.graph.initializer if t.name.endswith(ending))
        values = numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(change(values).astype(values.dtype), tensor.name))
        onnx.save(model, folder / f"{stage}.onnx")

    return fault


def attributes(stage: str, op_type: str, **changes: Any) -> Fault:
    """An op of ours with other attributes, for the library in its node and for everyone else in its body."""

    def fault(folder: Path) -> None:
        model = onnx.load(folder / f"{stage}.onnx")
        node = custom_node(model, op_type)
        kind, body = _OPS[op_type]
        found = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        fields = {field.name: _as_field(found[field.name]) for field in dataclasses.fields(kind)}
        op = dataclasses.replace(kind(**fields), **changes)
        arguments: tuple[Any, ...] = (op,)
        if op_type == "ClasswiseNMS":
            proposals = custom_node(model, "ProposalNMS").attribute
            arguments = (op, next(attribute.i for attribute in proposals if attribute.name == "max_proposals"))
        others = [function for function in model.functions if function.name != op_type]
        del model.functions[:], node.attribute[:]
        model.functions.extend([*others, body(*arguments)])
        node.attribute.extend(helper.make_attribute(name, value) for name, value in node_attributes(op).items())
        onnx.save(model, folder / f"{stage}.onnx")

    return fault


def class_names(change: Callable[[list[str]], list[str]]) -> Fault:
    """Other names in labels.txt."""

    def fault(folder: Path) -> None:
        file = folder / "labels.txt"
        file.write_text("\n".join(change(file.read_text().splitlines())) + "\n")

    return fault


def preprocessing(**changes: Any) -> Fault:
    """Other settings of the canvas in the manifest."""

    def fault(folder: Path) -> None:
        manifest = load_artifact(folder)
        spec = dataclasses.replace(
            manifest.spec, preprocessing=dataclasses.replace(manifest.spec.preprocessing, **changes)
        )
        dataclasses.replace(manifest, spec=spec).save(folder)

    return fault


def _as_field(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return tuple(value) if isinstance(value, list) else value
