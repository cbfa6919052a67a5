"""Bad attributes, shapes and types: one clear line of the plugin in TensorRT's log, with op, rule and value."""

from __future__ import annotations

import play_tensorrt
import pytest

ROI_ALIGN = {
    "strides": "int32=4,8",
    "canonical_size": "float32=224",
    "canonical_level": "int32=4",
    "pooled_side": "int32=7",
    "sampling_ratio": "int32=2",
    "aligned": "int32=1",
    "mode": "char=align_avg",
}
PROPOSAL_NMS = {
    "strides": "int32=4,8",
    "anchor_sizes": "float32=32,64",
    "aspect_ratios": "float32=0.5,1,2",
    "anchor_rounded": "int32=0",
    "anchor_centre_offset": "float32=0",
    "pre_nms_per_level": "int32=1000",
    "max_proposals": "int32=1000",
    "nms_thresh": "float32=0.7",
    "min_side": "float32=0",
}
CLASSWISE_NMS = {
    "num_classes": "int32=80",
    "score_thresh": "float32=0.05",
    "nms_thresh": "float32=0.5",
    "max_detections": "int32=100",
    "delta_weights": "float32=10,10,5,5",
    "min_side": "float32=0",
}
MASK_RLE = {"max_counts": "int32=4096", "paste": "char=aligned"}
GOOD = {
    "MultiscaleRoIAlign": ROI_ALIGN,
    "ProposalNMS": PROPOSAL_NMS,
    "ClasswiseNMS": CLASSWISE_NMS,
    "MaskRLE": MASK_RLE,
}


def fields(op: str, **changed: str | None) -> list[str]:
    """The good fields of an op with some changed, or left out where None."""
    given = {**GOOD[op], **changed}
    return [f"{name}:{value}" for name, value in given.items() if value is not None]


@pytest.mark.parametrize("op", GOOD)
def test_good_fields_are_taken(op: str) -> None:
    finished = play_tensorrt.create(op, fields(op))
    assert finished.returncode == 0, finished.stdout
    assert finished.stdout.startswith("attributes: ")
    for name in GOOD[op]:
        assert f"{name}=" in finished.stdout


@pytest.mark.parametrize(
    ("op", "changed", "text"),
    [
        ("MultiscaleRoIAlign", {"mode": None}, "field mode: missing, expected a string"),
        (
            "MultiscaleRoIAlign",
            {"mode": "char=avg"},
            'mode: got "avg", expected one of align_avg, align_max, pool, warp',
        ),
        ("MultiscaleRoIAlign", {"mode": "int32=1"}, "field mode: got int32[1], expected a string (chars)"),
        ("MultiscaleRoIAlign", {"strides": "float32=4,8"}, "field strides: got float32[2], expected ints"),
        ("MultiscaleRoIAlign", {"strides": "int32="}, "number of strides: got 0, expected 1..8"),
        ("MultiscaleRoIAlign", {"strides": "int32=4,12"}, "strides[1]: got 12, expected a power of two"),
        ("MultiscaleRoIAlign", {"pooled_side": "int32=7,7"}, "field pooled_side: got int32[2], expected one int"),
        ("MultiscaleRoIAlign", {"pooled_side": "int32=65"}, "pooled_side: got 65, expected 1..64"),
        ("MultiscaleRoIAlign", {"aligned": "int32=2"}, "field aligned: got 2, expected 0 or 1"),
        ("MultiscaleRoIAlign", {"canonical_size": "float32=nan"}, "canonical_size: got nan, expected a number"),
        (
            "MultiscaleRoIAlign",
            {"colour": "char=red"},
            "field colour: unknown, expected one of aligned, canonical_level",
        ),
        ("ProposalNMS", {"anchor_sizes": "float32=32,64,128"}, "anchor_sizes: got 3 values, expected"),
        (
            "ProposalNMS",
            {"aspect_ratios": "float32=-1"},
            "aspect_ratios: got -1.000000, expected finite numbers above 0",
        ),
        ("ProposalNMS", {"nms_thresh": "float32=1.5"}, "nms_thresh: got 1.500000, expected 0..1"),
        ("ProposalNMS", {"max_proposals": "int64=5000000000"}, "got 5000000000, expected a value that int32 holds"),
        ("ClasswiseNMS", {"delta_weights": "float32=10,10,5"}, "delta_weights: got float32[3], expected 4 floats"),
        ("ClasswiseNMS", {"num_classes": "int32=0"}, "num_classes: got 0, expected 1..536870910"),
        ("ClasswiseNMS", {"score_thresh": "int32=0"}, "field score_thresh: got int32[1], expected float32"),
        ("MaskRLE", {"max_counts": "int32=0"}, "max_counts: got 0, expected 1..1048576"),
        (
            "MaskRLE",
            {"max_counts": None},
            "field max_counts: missing, expected one int; a node must carry every attribute",
        ),
    ],
)
def test_bad_fields_are_refused_with_one_line(op: str, changed: dict[str, str | None], text: str) -> None:
    finished = play_tensorrt.create(op, fields(op, **changed))
    assert finished.returncode == 1
    (line,) = finished.stdout.splitlines()
    assert line.startswith(f"log: maskline: createPlugin: {op}: ")
    assert text in line
    assert line.endswith("(layer command line)")


BOXES, P2, P3 = "float:2x5x4", "half:2x16x8x8", "half:2x16x4x4"


def test_good_inputs_are_taken() -> None:
    finished = play_tensorrt.create("MultiscaleRoIAlign", fields("MultiscaleRoIAlign"), (BOXES, P2, P3))
    assert finished.returncode == 0, finished.stdout
    assert "output: HALF LINEAR [10,16,7,7]" in finished.stdout


@pytest.mark.parametrize(
    ("op", "inputs", "text"),
    [
        ("MultiscaleRoIAlign", (BOXES, P2), "got 2 inputs, expected 3 (boxes .. features of stride 8)"),
        ("MultiscaleRoIAlign", ("float:10x4", P2, P3), "input boxes: got shape [10,4], expected rank 3"),
        ("MultiscaleRoIAlign", ("half:2x5x4", P2, P3), "input boxes: got HALF, linear, expected FLOAT, linear"),
        ("MultiscaleRoIAlign", ("float:2x5x5", P2, P3), "input boxes: got shape [2,5,5], expected dimension 2 to be 4"),
        (
            "MultiscaleRoIAlign",
            (BOXES, "half:3x16x8x8", P3),
            "input features of stride 4: got shape [3,16,8,8], expected dimension 0 to be 2 as in boxes",
        ),
        (
            "MultiscaleRoIAlign",
            (BOXES, P2, "half-hwc8:2x16x4x4"),
            "input features of stride 8: got HALF, channels packed by 8, expected",
        ),
        ("MultiscaleRoIAlign", (BOXES, "half:2x0x8x8", "half:2x0x4x4"), "channels: got 0, expected 1"),
        (
            "ClasswiseNMS",
            ("float:9x81", "float:9x320", "float:2x5x4", "int32:2", "float:2x6"),
            "input class_logits: got shape [9,81], expected dimension 0 to be 10 (images times rows an image)",
        ),
        (
            "ClasswiseNMS",
            ("float:10x80", "float:10x320", "float:2x5x4", "int32:2", "float:2x6"),
            "input class_logits: got shape [10,80], expected dimension 1 to be 81",
        ),
        ("MaskRLE", ("float:2x5x65x65", "float:2x5x4", "int32:2x1", "float:2x6"), "masks: got side 65, expected 1.."),
    ],
)
def test_bad_inputs_are_refused_with_one_line(op: str, inputs: tuple[str, ...], text: str) -> None:
    finished = play_tensorrt.create(op, fields(op), inputs)
    assert finished.returncode == 1, finished.stdout
    errors = [line for line in finished.stdout.splitlines() if line.startswith("log: ") and "must cast it" not in line]
    (line,) = errors
    assert f": {op}: " in line
    assert text in line


def test_a_type_that_a_strongly_typed_network_must_cast_is_a_warning() -> None:
    finished = play_tensorrt.create("MultiscaleRoIAlign", fields("MultiscaleRoIAlign"), ("half:2x5x4", P2, P3))
    text = "input boxes: comes as HALF, linear, taken only as FLOAT, linear: a strongly typed network must cast it"
    assert text in finished.stdout
