"""From a checkpoint to an artifact folder: export each stage, attach the op bodies, check the files, describe them.

Letters: B images, L levels, A anchors a cell, R proposals an image, D detections an image, C channels, H W canvas,
Hi Wi level i, M mask side.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import importlib.metadata
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from maskline_train.checkpoint import WEIGHTS_FILE, load_model
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.spec import CANVAS_MULTIPLE, ModelSpec
from onnx import helper
from torch import Tensor, _dynamo, nn
from torch.export import Dim

from maskline_export.custom_ops import classwise_nms, multiscale_roi_align, proposal_nms
from maskline_export.custom_ops.body import DOMAIN, DOMAIN_VERSION, OPSET
from maskline_export.errors import ContractError
from maskline_export.folder import written_whole
from maskline_export.manifest import FILE as MANIFEST_FILE
from maskline_export.manifest import Bodies, LabelsInfo, Manifest, StageInfo, TensorInfo, sha256
from maskline_export.onnx_stages import check, stage_io, twins

IR_VERSION = 10
LABELS_FILE = "labels.txt"
TOOLS = ("torch", "onnx", "onnxscript", "onnxruntime")
# What the exporter traces with; any numbers that are not special (1, or equal to each other) do. The canvas is that
# many times 32, or the model's own multiple where that is larger.
_TRACE_BATCH, _TRACE_CANVAS = 2, (3, 5)

Report = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class _Stage:
    """One stage to export.

    Attributes:
        name: of the file, without its ending.
        module: the export twin.
        inputs: its tensors in order, as the contract has them.
        outputs: likewise.
        arrange: groups one entry an input into the arguments of `module.forward`.
        functions: bodies of the ops it uses.
        multiple: what every side of a canvas is a multiple of.
    """

    name: str
    module: nn.Module
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    arrange: Callable[[list[Any]], tuple[Any, ...]]
    functions: tuple[onnx.FunctionProto, ...]
    multiple: int


def export_checkpoint(checkpoint: Path, out: Path, bodies: Bodies = "ort", report: Report = lambda _: None) -> Manifest:
    """Write the artifact of a checkpoint folder.

    Args:
        checkpoint: folder with `model.json` and `model.safetensors`.
        out: folder to create; an artifact that is there is replaced, anything else is refused.
        bodies: which op bodies the files carry.
        report: gets one line a step.

    Returns:
        The manifest that was written.

    Raises:
        ExportError: the checkpoint is damaged, `out` is taken, or an exported file fails its checks. Nothing is left
            behind then.
        OSError: the checkpoint is not there or cannot be read, or `out` cannot be written.
    """
    report(f"reading {checkpoint}")
    try:
        model = load_model(checkpoint)
    except ValueError as error:
        raise ContractError(str(error)) from error
    return export_model(model, sha256(checkpoint / WEIGHTS_FILE), out, bodies, report)


def export_model(
    model: MaskRCNN, checkpoint_sha256: str, out: Path, bodies: Bodies = "ort", report: Report = lambda _: None
) -> Manifest:
    """Write the artifact of a model in memory; see `export_checkpoint`."""
    with written_whole(out, MANIFEST_FILE, "an artifact folder") as folder:
        return _write(model.eval(), checkpoint_sha256, folder, bodies, report)


def _write(model: MaskRCNN, checkpoint_sha256: str, folder: Path, bodies: Bodies, report: Report) -> Manifest:
    spec = model.spec
    infos: dict[str, StageInfo] = {}
    for stage in _stages(model, bodies):
        report(f"{stage.name}: exporting")
        proto = _to_proto(stage)
        path = folder / f"{stage.name}.onnx"
        onnx.save(proto, path)
        report(f"{stage.name}: checking {path.name}, {path.stat().st_size / 2**20:.1f} MiB")
        info = StageInfo(path.name, sha256(path), check.custom_ops(proto), stage.inputs, stage.outputs)
        check.check_stage(path, info)
        infos[stage.name] = info
    report("all stages: running in ONNX Runtime on made images")
    check.run_stages(folder, infos, spec.preprocessing.side_multiple)
    labels = folder / LABELS_FILE
    labels.write_text("".join(f"{name}\n" for name in spec.classes), encoding="utf-8")
    written = Manifest(
        maskline=importlib.metadata.version("maskline"),
        spec=spec,
        bodies=bodies,
        precision="fp32",
        opset=OPSET,
        tools={name: importlib.metadata.version(name) for name in TOOLS},
        checkpoint_sha256=checkpoint_sha256,
        labels=LabelsInfo(LABELS_FILE, sha256(labels)),
        stages=infos,
    )
    written.save(folder)
    return written


def _stages(model: MaskRCNN, bodies: Bodies) -> tuple[_Stage, ...]:
    """The stages of `stage_io.stage_names`, in that order."""
    spec = model.spec
    proposal = twins.ProposalStage(model)
    r = spec.proposals.max_proposals
    if bodies == "ort":
        heads = (
            proposal_nms.body_ort(proposal.proposals),
            multiscale_roi_align.body_ort(proposal.pool),
            classwise_nms.body_ort(proposal.detections, r),
        )
    else:
        heads = (
            proposal_nms.body_dense(proposal.proposals),
            multiscale_roi_align.body_dense(proposal.pool),
            classwise_nms.body_dense(proposal.detections, r),
        )
    pyramid, rpn, found = stage_io.features(spec), stage_io.rpn_outputs(spec), stage_io.detections(spec)
    rois, levels = len(pyramid), len(rpn) // 2
    multiple = spec.preprocessing.side_multiple
    skip = bodies == "ort"
    heads_on_boxes: list[_Stage] = []
    if spec.mask_head is not None:
        twin = twins.MaskStage(model, skip)
        heads_on_boxes.append(_head_stage("mask", twin, stage_io.masks(spec), spec, bodies))
    if spec.keypoint_head is not None:
        keypoints = twins.KeypointStage(model, skip)
        heads_on_boxes.append(_head_stage("keypoint", keypoints, stage_io.keypoints(spec), spec, bodies))
    return (
        _Stage(
            "backbone",
            twins.BackboneStage(model),
            stage_io.backbone_inputs(),
            (*pyramid, *rpn),
            lambda tensors: tuple(tensors),
            (),
            multiple,
        ),
        _Stage(
            "proposal",
            proposal,
            (*pyramid, *rpn, stage_io.IMAGE_INFO),
            found,
            lambda t: (t[:rois], t[rois : rois + levels], t[rois + levels : -1], t[-1]),
            heads,
            multiple,
        ),
        *heads_on_boxes,
    )


def _head_stage(
    name: str,
    module: twins.MaskStage | twins.KeypointStage,
    outputs: tuple[TensorInfo, ...],
    spec: ModelSpec,
    bodies: Bodies,
) -> _Stage:
    """A stage that reads features, boxes and labels."""
    pool = multiscale_roi_align.body_ort if bodies == "ort" else multiscale_roi_align.body_dense
    rois = len(stage_io.features(spec))
    return _Stage(
        name,
        module,
        stage_io.head_inputs(spec),
        outputs,
        lambda t: (t[:rois], *t[rois:]),
        (pool(module.pool),),
        spec.preprocessing.side_multiple,
    )


def _to_proto(stage: _Stage) -> onnx.ModelProto:
    """Export one stage, name its dimensions as the contract does, and attach the bodies of its ops."""
    return _finish(_trace(stage), stage)


def _trace(stage: _Stage) -> onnx.ModelProto:
    """The graph that PyTorch's exporter makes of a stage, with its own names of dimensions and without bodies."""
    symbols = _dims(stage.multiple)
    # Its cache of shapes misses on symbolic sizes, and asking it took a quarter of the time of an export.
    with _quiet(), _dynamo.config.patch(fake_tensor_cache_enabled=False):
        program = torch.onnx.export(
            stage.module.eval(),
            stage.arrange([_example(tensor, stage.multiple) for tensor in stage.inputs]),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=stage.arrange(
                [{i: symbols[d] for i, d in enumerate(tensor.shape) if isinstance(d, str)} for tensor in stage.inputs]
            ),
            input_names=[tensor.name for tensor in stage.inputs],
            output_names=[tensor.name for tensor in stage.outputs],
            external_data=False,
            verbose=False,
        )
    assert program is not None  # torch.onnx.export returns None only where it writes a file itself
    return program.model_proto


def _finish(proto: onnx.ModelProto, stage: _Stage) -> onnx.ModelProto:
    """The exported graph with our names, versions and function bodies, and without traces of the exporting machine."""
    proto.ir_version = IR_VERSION
    proto.producer_name, proto.producer_version = "maskline", importlib.metadata.version("maskline")
    proto.graph.name = stage.name
    for values, tensors in ((proto.graph.input, stage.inputs), (proto.graph.output, stage.outputs)):
        if [value.name for value in values] != [tensor.name for tensor in tensors]:
            raise ContractError(f"{stage.name}: got tensors {[v.name for v in values]}, expected {tensors}")
        for value, tensor in zip(values, tensors, strict=True):
            _name_dims(value, tensor)
    del proto.graph.value_info[:]  # it speaks of the exporter's own symbols; readers infer inner shapes from ours
    del proto.graph.metadata_props[:]
    for node in proto.graph.node:
        del node.metadata_props[:]  # stack traces with this machine's paths
    _name_ops(proto.graph)
    proto.functions.extend(stage.functions)
    del proto.opset_import[:]
    proto.opset_import.append(helper.make_opsetid("", OPSET))
    if stage.functions:
        proto.opset_import.append(helper.make_opsetid(DOMAIN, DOMAIN_VERSION))
    return proto


def _name_ops(graph: onnx.GraphProto) -> None:
    """Name the nodes of our ops as profiles of TensorRT and ONNX Runtime show them: by the op, then a number."""
    seen: collections.Counter[str] = collections.Counter()
    for node in graph.node:
        if node.domain == DOMAIN:
            seen[node.op_type] += 1
            node.name = node.op_type if seen[node.op_type] == 1 else f"{node.op_type}_{seen[node.op_type]}"


def _name_dims(value: onnx.ValueInfoProto, tensor: TensorInfo) -> None:
    """Replace the symbols of dynamic dimensions by the contract's; fixed ones stay for the checks to compare."""
    for dim, wanted in zip(value.type.tensor_type.shape.dim, tensor.shape, strict=True):
        if isinstance(wanted, str):
            dim.Clear()
            dim.dim_param = wanted
        elif dim.dim_param:  # a product of symbols and numbers that the exporter could not resolve
            dim.Clear()
            dim.dim_value = wanted


def _example(tensor: TensorInfo, multiple: int) -> Tensor:
    unit = multiple * -(-CANVAS_MULTIPLE // multiple)
    sizes = stage_io.sizes(_TRACE_BATCH, *(count * unit for count in _TRACE_CANVAS))
    shape = [sizes[dim] if isinstance(dim, str) else dim for dim in tensor.shape]
    return torch.from_numpy(np.zeros(shape, dtype=check.NUMPY_DTYPES[tensor.dtype]))


def _dims(multiple: int) -> dict[str, Any]:
    """A dynamic dimension for each symbol; canvas sides that 32 divides let the pyramid's sums line up."""
    dims: dict[str, Any] = {symbol: Dim(symbol) for symbol in stage_io.sizes(1, multiple, multiple)}
    if multiple > 1:
        for symbol in ("H", "W"):
            dims[symbol] = multiple * Dim(f"cells_{symbol}")
    return dims


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's own progress lines and advice off the terminal; its exceptions pass."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
