"""Every config.pbtxt, read by Triton's own protobuf: the wire contract, the wiring of the ensembles, queue limits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from maskline_train.data.coco_person import KEYPOINTS as COCO_PERSON
from maskline_train.spec import ModelSpec
from tritonclient.grpc import model_config_pb2

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "triton_repo" / "models"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
ENSEMBLES = ("maskrcnn", "maskrcnn_raw", "maskrcnn_engines", "maskrcnn_boxes")
STAGES = ("backbone", "proposal", "mask", "keypoint")
PYTHON = ("preprocess", "postprocess", "postprocess_raw", "postprocess_boxes")
SPEC = ModelSpec(classes=("thing",))
# The letters of the contract for the baseline that the configs are written for.
LETTERS = {
    "C": SPEC.backbone.fpn_channels,
    "A": len(SPEC.anchors.aspect_ratios),
    "4A": 4 * len(SPEC.anchors.aspect_ratios),
    "D": SPEC.box_head.max_detections,
    "M": SPEC.mask_head.mask_side,
    "J": len(COCO_PERSON),
    **dict.fromkeys(("H", "W", "Hi", "Wi"), -1),
}
# Added to Triton after 24.10, which refuses a config that has one of them.
NEWER_THAN_24_10 = ("max_inflight_requests",)

Tensors = dict[str, tuple[str, tuple[int, ...]]]  # name -> (dtype, dims without the batch)


def load(name: str) -> Any:
    """The model's configuration; an unknown field is a parse error."""
    return text_format.Parse((MODELS / name / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


CONFIGS = {path.parent.name: load(path.parent.name) for path in sorted(MODELS.glob("*/config.pbtxt"))}


def tensors(entries: Any) -> Tensors:
    """Inputs or outputs of a config; dtypes as the documents write them."""
    kinds = {"STRING": "BYTES"}
    found = {}
    for entry in entries:
        kind = model_config_pb2.DataType.Name(entry.data_type).removeprefix("TYPE_")
        found[entry.name] = (kinds.get(kind, kind), tuple(entry.dims))
    assert len(found) == len(entries), "a name appears twice"
    return found


def table(heading: str, text: str) -> list[list[str]]:
    """Rows of the first markdown table after a heading, without its header."""
    rows = re.search(r"\n\|.*?\n(?!\|)", text[text.index(heading) :], re.DOTALL)
    assert rows is not None
    cells = [[cell.strip() for cell in row.strip("| \n").split("|")] for row in rows.group().strip().splitlines()]
    return cells[2:]


def expand(text: str) -> list[str]:
    """`p2`..`p4` -> p2 p3 p4; a lone `name` -> name; `rpn_logits_p2`..`p6` too."""
    first, _, last = text.replace("`", "").partition("..")
    if not last:
        return [first]
    stem = first.rstrip("0123456789")
    return [f"{stem}{i}" for i in range(int(first.removeprefix(stem)), int(re.sub(r"\D", "", last)) + 1)]


def described(cell: str) -> Tensors:
    """Tensors of a table's cell such as "`boxes` FP32 [D,4] xyxy px, `scores` FP32 [D]"."""
    found: Tensors = {}
    for names, kind, dims in re.findall(r"((?:`\w+`(?:\.\.)?)+) (UINT8|FP32|INT32|BYTES) \[([^\]]*)\]", cell):
        sizes = [size.strip() for size in dims.split(",")]
        sizes = sizes[1:] if sizes[0] == "B" else sizes
        found |= dict.fromkeys(expand(names), (kind, tuple(LETTERS.get(s) or int(s) for s in sizes)))
    return found


def test_all_models_are_here() -> None:
    assert set(CONFIGS) == {*ENSEMBLES, *STAGES, *PYTHON}
    for name, config in CONFIGS.items():
        assert config.name == name


@pytest.mark.parametrize("name", CONFIGS)
def test_no_field_is_newer_than_the_local_server(name: str) -> None:
    text = re.sub(r"#.*", "", (MODELS / name / "config.pbtxt").read_text())
    assert not [field for field in NEWER_THAN_24_10 if field in text]


def test_a_misspelt_field_is_found() -> None:
    with pytest.raises(text_format.ParseError):
        text_format.Parse('name: "x" max_batchsize: 8', model_config_pb2.ModelConfig())


def test_ensembles_have_the_wire_contracts_tensors() -> None:
    rows = {row[0].strip("`"): row[1:] for row in table("## Wire contract", ARCHITECTURE.read_text())}
    assert set(rows) == set(ENSEMBLES)
    outputs = described(rows["maskrcnn"][1])
    assert set(outputs) == {"num_detections", "boxes", "scores", "labels", "mask_rle", "keypoints", "image_size"}
    raw = {name: kind for name, kind in outputs.items() if name != "mask_rle"} | described(rows["maskrcnn_raw"][1])
    engines = {name: kind for name, kind in raw.items() if name != "image_size"}
    boxes = {name: kind for name, kind in outputs.items() if name not in ("mask_rle", "keypoints")}
    of_each = {"maskrcnn": outputs, "maskrcnn_raw": raw, "maskrcnn_engines": engines, "maskrcnn_boxes": boxes}
    for name, expected in of_each.items():
        assert tensors(CONFIGS[name].input) == described(rows[name][0]), name
        assert tensors(CONFIGS[name].output) == expected, name
    assert re.findall(r"`(\w+)`", rows["maskrcnn_engines"][1]) == [
        "masks" if name == "mask_rle" else name for name in outputs if name != "image_size"
    ]
    assert re.findall(r"`(\w+)`", rows["maskrcnn_boxes"][1]) == list(boxes)


def test_the_readme_shows_the_same_tensors() -> None:
    text = (ROOT / "README.md").read_text()
    rows = table("## What travels on the wire", text)
    shown = described(", ".join(f"{name.removesuffix(' (input)')} {kind}" for name, kind, *_ in rows))
    assert shown == tensors(CONFIGS["maskrcnn"].input) | tensors(CONFIGS["maskrcnn"].output)
    assert described(text)["masks"] == tensors(CONFIGS["maskrcnn_raw"].output)["masks"]


def test_stages_have_the_artifacts_tensors() -> None:
    rows = {row[0]: row[1:] for row in table("## The artifact folder", ARCHITECTURE.read_text())}
    known: Tensors = {}
    for stage in STAGES:
        inputs, outputs = described(rows[stage][0]), described(rows[stage][1])
        named = {name for text in re.findall(r"(?:`\w+`(?:\.\.)?)+", rows[stage][0]) for name in expand(text)}
        known |= inputs | outputs
        assert tensors(CONFIGS[stage].input) == {name: known[name] for name in named}, stage
        assert tensors(CONFIGS[stage].output) == outputs, stage


@pytest.mark.parametrize("name", ENSEMBLES)
def test_every_step_is_fed_by_an_input_or_an_earlier_step_of_the_same_type(name: str) -> None:
    ensemble = CONFIGS[name]
    known = tensors(ensemble.input)
    used = set()
    for step in ensemble.ensemble_scheduling.step:
        model = CONFIGS[step.model_name]
        assert step.model_version == -1
        inputs, outputs = tensors(model.input), tensors(model.output)
        assert set(step.input_map) == set(inputs), f"{name}, step {step.model_name}: every input is mapped, no other"
        for tensor, source in step.input_map.items():
            assert source in known, f"{name}, step {step.model_name}: nothing before gives {source}"
            assert known[source] == inputs[tensor], f"{name}, step {step.model_name}: {tensor} from {source}"
            used.add(source)
        assert set(step.output_map) <= set(outputs)
        for tensor, target in step.output_map.items():
            assert target not in known, f"{name}: {target} is written twice"
            known[target] = outputs[tensor]
    results = tensors(ensemble.output)
    assert {target: known.get(target) for target in results} == results
    assert set(known) == used | set(results), f"{name}: what nobody reads need not be made"


def test_all_ensembles_run_the_same_stages_but_for_the_one_of_boxes_alone() -> None:
    for name in ENSEMBLES:
        steps = [step.model_name for step in CONFIGS[name].ensemble_scheduling.step]
        wanted = ["backbone", "proposal"] if name == "maskrcnn_boxes" else list(STAGES)
        assert [step for step in steps if step in STAGES] == wanted


@pytest.mark.parametrize("name", CONFIGS)
def test_batching_and_instances(name: str) -> None:
    config = CONFIGS[name]
    assert config.max_batch_size == CONFIGS["maskrcnn"].max_batch_size >= 7
    if name in ENSEMBLES:
        assert config.platform == "ensemble"
        return
    assert config.backend == ("onnxruntime" if name in STAGES else "python")
    assert config.HasField("dynamic_batching")
    # Waiting for a fuller batch costs each lone request that time; batches form of what waits anyway.
    assert config.dynamic_batching.max_queue_delay_microseconds == 0
    kinds = {model_config_pb2.ModelInstanceGroup.Kind.Name(group.kind) for group in config.instance_group}
    assert kinds == {"KIND_CPU"}
    # The C++ backends would hand a ragged batch to the network as one long vector.
    assert not any(entry.allow_ragged_batch for entry in config.input)


def test_the_first_step_of_every_ensemble_and_no_other_limits_its_queue() -> None:
    first = {CONFIGS[name].ensemble_scheduling.step[0].model_name for name in ENSEMBLES}
    assert first == {"preprocess", "backbone"}
    for name in set(CONFIGS) - set(ENSEMBLES):
        policy = CONFIGS[name].dynamic_batching.default_queue_policy
        assert (policy.max_queue_size > 0) == (name in first), name
        assert (policy.default_timeout_microseconds > 0) == (name in first), name
        if name in first:
            assert policy.timeout_action == model_config_pb2.ModelQueuePolicy.TimeoutAction.REJECT
            assert policy.allow_timeout_override


def test_preprocess_carries_the_baselines_geometry_and_the_documented_limits() -> None:
    parameters = {key: value.string_value for key, value in CONFIGS["preprocess"].parameters.items()}
    geometry = SPEC.preprocessing
    limits = re.search(
        r"Limits \(parameters of `preprocess`\): (\d+) MiB a file, (\d+) megapixels, ([\d ]+) px a side; "
        r"(\d+) MiB of memory and (\d+) s to decode it",
        ARCHITECTURE.read_text(),
    )
    assert limits is not None
    mib, megapixels, side, memory_mib, seconds = (int(text.replace(" ", "")) for text in limits.groups())
    assert parameters == {
        "shorter_side_px": str(geometry.shorter_side_px),
        "longer_side_px": str(geometry.longer_side_px),
        "canvases": ",".join(f"{height}x{width}" for height, width in geometry.canvases),
        "decode": "host",
        "decode_isolation": "process",
        "canvas_multiple": "",  # the baseline has a list
        "size_rule": geometry.size_rule,
        "resize_filter": geometry.resize_filter,
        "max_image_bytes": str(mib * 2**20),
        "max_image_pixels": str(megapixels * 10**6),
        "max_image_side_px": str(side),
        "max_decode_bytes": str(memory_mib * 2**20),
        "max_decode_seconds": str(seconds),
        "artifact_sha256": "",  # `maskline-serve assemble` fills it
    }


def test_ensembles_carry_what_assemble_fills() -> None:
    for name in ENSEMBLES:
        told = {key: value.string_value for key, value in CONFIGS[name].parameters.items()}
        keypoints = {} if name == "maskrcnn_boxes" else {"keypoints": "{}"}
        unknown = dict.fromkeys(("artifact_sha256", "precision", "maskline", "revision"), "")
        assert told == {"labels": "[]", **keypoints, **unknown}, name


@pytest.mark.parametrize("name", ["postprocess_raw", "postprocess_boxes"])
def test_it_runs_the_code_of_postprocess(name: str) -> None:
    for file in ("model.py", "rle.py", "geometry.py", "encoders.py"):
        assert (MODELS / name / "1" / file).resolve() == (MODELS / "postprocess" / "1" / file).resolve()
