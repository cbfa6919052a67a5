"""The int8 graphs of an artifact without our ops, in ONNX Runtime and in OpenVINO: the same files, the same tensors.

OpenVINO has no bodies of functions, so the heads are cut behind MultiscaleRoIAlign: the box head from its features to
logits and deltas, the mask head from its features to masks. The trunk is the whole stage `backbone`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx
import openvino
from maskline_export.custom_ops import classwise_nms, multiscale_roi_align
from maskline_export.manifest import load_artifact
from maskline_export.onnx_file import load_onnx
from maskline_export.precision.quantize import as_stage_input
from maskline_export.verify.onnx_runtime import OnnxModel, Tensors
from maskline_export.verify.probes import custom_node, with_outputs, without_node
from maskline_host import custom_ops_path
from onnx import TensorProto

from maskline_bench.drawn import Drawn
from maskline_bench.measure import interleave
from maskline_bench.teach import Tell

ORT, OPENVINO = "ONNX Runtime", "OpenVINO"
_WARMUP = 2

Run = Callable[[Tensors], object]


def time_graphs(
    artifact: Path, pictures: Sequence[Drawn], threads: int, rounds: int, tell: Tell
) -> dict[str, dict[str, float]]:
    """Median seconds of each graph by each side.

    Args:
        artifact: the int8 one.
        pictures: what the graphs see in turn.
        threads: of each side.
        rounds: counted runs of each side.
        tell: called with a line of progress.
    """
    spec = load_artifact(artifact).spec
    given = [as_stage_input(each.picture, spec.preprocessing) for each in pictures]
    makers = {ORT: _ort_run, OPENVINO: _openvino_run}
    found: dict[str, dict[str, float]] = {side: {} for side in makers}
    for name, (graph, tensors) in _graphs(artifact, given).items():
        sides = {side: _in_turn(make(graph, threads), tensors) for side, make in makers.items()}
        for side, timing in interleave(sides, warmup=_WARMUP, rounds=rounds, tell=tell).items():
            found[side][name] = timing.median
    return found


def _in_turn(run: Run, tensors: Sequence[Tensors]) -> Callable[[int], object]:
    return lambda index: run(tensors[index % len(tensors)])


def _graphs(artifact: Path, given: Sequence[Tensors]) -> dict[str, tuple[onnx.ModelProto, list[Tensors]]]:
    """Name to the graph and what it gets for each picture."""
    whole = {name: load_onnx(artifact / f"{name}.onnx") for name in ("backbone", "proposal", "mask")}
    library = custom_ops_path()
    features = [OnnxModel(whole["backbone"], library=library).run(tensors) | tensors for tensors in given]
    graphs = {"trunk": (whole["backbone"], [dict(tensors) for tensors in given])}
    for stage, name in (("proposal", "box head"), ("mask", "mask head")):
        pooled = custom_node(whole[stage], multiscale_roi_align.NAME).output[0]
        shown = OnnxModel(with_outputs(whole[stage], {"pooled": pooled}), library=library)
        features = [tensors | shown.run(tensors) for tensors in features]
        head = _head(whole[stage], pooled, features[0]["pooled"].shape)
        names = [value.name for value in head.graph.input]
        inputs = [{**tensors, pooled: tensors["pooled"]} for tensors in features]
        graphs[name] = (head, [{key: tensors[key] for key in names} for tensors in inputs])
    return graphs


def _head(stage: onnx.ModelProto, pooled: str, shape: tuple[int, ...]) -> onnx.ModelProto:
    """A stage from its RoI features on, up to where ClasswiseNMS would begin."""
    copy = onnx.ModelProto()
    copy.CopyFrom(stage)
    ends = [node for node in stage.graph.node if node.op_type == classwise_nms.NAME]
    if ends:
        del copy.graph.output[:]
        for name in ends[0].input[:2]:
            copy.graph.output.append(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    align = custom_node(copy, multiscale_roi_align.NAME)
    head = without_node(copy, align, {pooled: TensorProto.FLOAT})
    for value in head.graph.input:
        if value.name == pooled:  # OpenVINO wants the rank
            dims: list[str | int | None] = ["R", *shape[1:]]
            value.CopyFrom(onnx.helper.make_tensor_value_info(pooled, TensorProto.FLOAT, dims))
    del head.functions[:]
    return head


def _ort_run(graph: onnx.ModelProto, threads: int) -> Run:
    return OnnxModel(graph, threads).run


def _openvino_run(graph: onnx.ModelProto, threads: int) -> Run:
    options: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # what is not int8 stays float32, as in ONNX Runtime
    }
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(graph.SerializeToString()), "CPU", options)
    return lambda tensors: compiled(tensors)
