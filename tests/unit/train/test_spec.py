"""ModelSpec: JSON round trip, strict reading, ranges."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from maskline_train.conventions import differences
from maskline_train.spec import (
    AnchorSpec,
    BackboneSpec,
    BoxHeadSpec,
    KeypointHeadSpec,
    MaskHeadSpec,
    ModelSpec,
    PreprocessingSpec,
    ProposalSpec,
    RoIAlignSpec,
    RPNHeadSpec,
)

UNUSUAL = ModelSpec(
    classes=("zebra", "traffic light", "日本"),
    preprocessing=PreprocessingSpec(64, 96, (), (1.0, 2.0, 3.0), (4.0, 5.0, 6.0), 16, "cv2", "floor"),
    backbone=BackboneSpec(101, 32, "batch", 0, True, 128, "c4", 32, 8, True),
    anchors=AnchorSpec((1.0, 2.0, 3.0, 4.0, 5.0), (1.0,), True, 0.5),
    rpn_head=RPNHeadSpec(2),
    proposals=ProposalSpec(10, 20, 0.5, 1.0, 0.05),
    roi_align=RoIAlignSpec(0, False, 112.0, 3, "pool"),
    box_head=BoxHeadSpec(5, 64, (1.0, 1.0, 1.0, 1.0), 0.0, 0.3, 7, 2.0),
    mask_head=MaskHeadSpec(4, 1, 16, "res5", 64, "softmax", True),
    keypoint_head=KeypointHeadSpec(
        ("left", "right", "top"), (("left", "right"),), (0.1, 0.1, 0.2), 7, 2, 16, "bicubic", "logit"
    ),
)


# What cannot be said of a network whose heads are the fifth stage.
CONVOLUTIONAL = ModelSpec(
    ("a",),
    backbone=BackboneSpec(fpn_norm="group", norm_groups=16, least_group_channels=1),
    anchors=AnchorSpec(stride_of_cells=True),
    box_head=BoxHeadSpec(num_convs=4, conv_channels=24, num_fcs=1, norm="group", norm_groups=8, fc_norm="group"),
    mask_head=MaskHeadSpec(norm="group", norm_groups=64, paste="detectron"),
)

# What cannot be said of anchors by size and ratio.
PIXELS = ModelSpec(
    ("a",),
    backbone=BackboneSpec(features="c4"),
    anchors=AnchorSpec(cells_px=(((-22.0, -10.0, 25.0, 13.0), (-14.0, -14.0, 17.0, 17.0)),)),
    pixel_boxes=True,
)


@pytest.mark.parametrize("spec", [ModelSpec(("a",)), UNUSUAL, CONVOLUTIONAL, PIXELS])
def test_a_spec_survives_its_file(tmp_path, spec):
    spec.save(tmp_path / "model.json")
    assert ModelSpec.load(tmp_path / "model.json") == spec


def test_every_field_differs_from_its_default_in_an_unusual_spec():
    # so that the round trip above proves that each one is written
    default = ModelSpec(("a",), keypoint_head=KeypointHeadSpec(("nose",)))
    assert PIXELS.pixel_boxes != default.pixel_boxes
    for field in dataclasses.fields(ModelSpec)[1:-1]:  # neither the classes nor pixel_boxes, which is no part
        usual, *unusual = (getattr(spec, field.name) for spec in (default, UNUSUAL, CONVOLUTIONAL, PIXELS))
        for inner in dataclasses.fields(usual):
            found = {getattr(part, inner.name) for part in unusual if part is not None}
            assert found - {getattr(usual, inner.name)}, f"{field.name}.{inner.name}"


def test_a_file_of_an_earlier_release_means_what_it_meant(tmp_path):
    data = ModelSpec(("a", "b")).to_dict()
    del data["rpn_head"], data["proposals"]["score_thresh"], data["anchors"]["stride_of_cells"]
    del data["anchors"]["cells_px"], data["pixel_boxes"]
    del data["backbone"]["fpn_norm"], data["backbone"]["norm_groups"], data["backbone"]["least_group_channels"]
    del data["mask_head"]["norm"], data["mask_head"]["norm_groups"], data["mask_head"]["paste"]
    for name in ("num_convs", "conv_channels", "num_fcs", "norm", "norm_groups", "fc_norm"):
        del data["box_head"][name]
    (tmp_path / "model.json").write_text(json.dumps(data))
    assert ModelSpec.load(tmp_path / "model.json") == ModelSpec(("a", "b"))


def changed(path, value):
    data = json.loads(json.dumps(ModelSpec(("a", "b")).to_dict()))
    *parents, last = path.split(".")
    inner = data
    for name in parents:
        inner = inner[name]
    inner[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("format", "maskline-model/9", r"got format 'maskline-model/9', expected 'maskline-model/1'"),
        ("colour", 1, r"model: unknown key 'colour'"),
        ("backbone.colour", 1, r"model.backbone: unknown key 'colour'"),
        ("backbone", 3, r"model.backbone: got 3, expected an object"),
        ("backbone.depth", 26, r"model.backbone.depth: got 26, expected one of 18, 34, 50, 101"),
        ("preprocessing.resize_filter", "area", r"resize_filter: got 'area', expected one of 'pillow', 'cv2', 'torch'"),
        ("preprocessing.size_rule", "ceil", r"size_rule: got 'ceil', expected one of 'round', 'floor', 'detectron2'"),
        ("backbone.frozen_stages", True, r"frozen_stages: got True, expected a int"),
        ("backbone.stride_in_1x1", 1, r"stride_in_1x1: got 1, expected a bool"),
        ("anchors.sizes_px", "32", r"sizes_px: got '32', expected a list"),
        ("preprocessing.mean", [1, 2], r"mean: got 2 entries, expected 3"),
        ("classes", ["a", 3], r"model.classes\[1\]: got 3, expected a str"),
    ],
)
def test_a_wrong_file_is_refused_by_the_name_of_the_key(path, value, message):
    with pytest.raises(ValueError, match=message):
        ModelSpec.from_dict(changed(path, value))


def test_a_missing_class_list_is_named():
    with pytest.raises(ValueError, match="missing key 'classes'"):
        ModelSpec.from_dict({"format": "maskline-model/1"})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("classes", []),
        ("classes", ["a", "a"]),
        ("classes", ["a", ""]),
        ("classes", ["a", " b"]),
        ("classes", ["a\nb"]),
        ("preprocessing.shorter_side_px", 0),
        ("preprocessing.longer_side_px", 799),
        ("preprocessing.canvases", []),
        ("preprocessing.canvases", [[800, 1333]]),
        ("preprocessing.canvases", [[0, 32]]),
        ("preprocessing.canvas_multiple", 0),
        ("preprocessing.canvas_multiple", -32),
        ("preprocessing.std", [1.0, 0.0, 1.0]),
        ("backbone.base_channels", 0),
        ("backbone.frozen_stages", 6),
        ("backbone.frozen_stages", -1),
        ("backbone.fpn_channels", 0),
        ("anchors.sizes_px", [32.0, 64.0, 128.0, 256.0]),
        ("anchors.sizes_px", [0.0, 64.0, 128.0, 256.0, 512.0]),
        ("anchors.aspect_ratios", []),
        ("anchors.aspect_ratios", [-1.0]),
        ("anchors.centre_offset", 1.5),
        ("anchors.centre_offset", float("nan")),
        ("proposals.pre_nms_per_level", 0),
        ("proposals.max_proposals", 0),
        ("proposals.nms_thresh", 0.0),
        ("proposals.nms_thresh", 1.1),
        ("proposals.min_side_px", 0.0),
        ("proposals.score_thresh", -0.1),
        ("proposals.score_thresh", float("nan")),
        ("rpn_head.num_convs", 0),
        ("roi_align.sampling_ratio", -1),
        ("roi_align.canonical_size_px", 0.0),
        ("box_head.pooled_side", 0),
        ("box_head.hidden", 0),
        ("box_head.delta_weights", [10.0, 10.0, 0.0, 5.0]),
        ("box_head.score_thresh", 1.5),
        ("box_head.score_thresh", float("nan")),
        ("box_head.nms_thresh", -0.5),
        ("box_head.max_detections", 0),
        ("box_head.min_side_px", 0.0),
        ("box_head.num_convs", -1),
        ("box_head.conv_channels", 0),
        ("box_head.num_fcs", 0),
        ("box_head.norm", "group"),
        ("box_head.norm_groups", 0),
        ("mask_head.pooled_side", 0),
        ("mask_head.num_convs", 0),
        ("mask_head.channels", 0),
        ("mask_head.hidden", 0),
        ("mask_head.norm_groups", 0),
        ("backbone.norm_groups", 0),
        ("backbone.groups", 0),
        ("backbone.width_per_group", 0),
    ],
)
def test_values_out_of_range_are_refused_by_name(path, value):
    with pytest.raises(ValueError, match=rf"^{path}: got .*, expected "):
        ModelSpec.from_dict(changed(path, value))


def test_values_are_checked_in_code_too():
    with pytest.raises(ValueError, match=r"backbone.depth: got 26, expected one of \(18, 34, 50, 101, 152\)"):
        BackboneSpec(depth=26)
    for depth in (18, 34):
        with pytest.raises(ValueError, match=rf"^backbone.groups: got 2, expected 1 for depth {depth} \(basic"):
            BackboneSpec(depth=depth, groups=2)
    with pytest.raises(ValueError, match=r"backbone.norm: got 'layer'"):
        BackboneSpec(norm="layer")


@given(st.binary(max_size=40))
def test_a_file_that_is_no_spec_raises_a_value_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("spec") / "model.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model.json: (not JSON|got a JSON)|^model spec: got format"):
        ModelSpec.load(path)


def test_the_paste_rule_is_one_of_two():
    assert ModelSpec(("a",), mask_head=MaskHeadSpec(paste="detectron")).paste == "detectron"
    assert ModelSpec(("a",), mask_head=None).paste == "aligned"
    with pytest.raises(ValueError, match=r"^mask_head.paste: got 'torch', expected one of \('aligned', 'detectron'\)"):
        MaskHeadSpec(paste="torch")


def test_mask_side_is_twice_the_pooled_side():
    assert MaskHeadSpec(pooled_side=14).mask_side == 28


def test_sizes_of_anchors_are_dealt_out_over_the_levels():
    spec = AnchorSpec()
    assert [spec.sizes_of_level(i, 5) for i in range(5)] == [(32.0,), (64.0,), (128.0,), (256.0,), (512.0,)]
    assert spec.sizes_of_level(0, 1) == spec.sizes_px
    assert (spec.per_cell(5), spec.per_cell(1)) == (3, 15)


def test_parts_that_do_not_fit_together_are_refused():
    with pytest.raises(ValueError, match=r"anchors.sizes_px: got .* expected the same number for each of 5 level"):
        ModelSpec(("a",), anchors=AnchorSpec(sizes_px=(32.0, 64.0)))
    with pytest.raises(ValueError, match=r"mask_head.kind: got 'res5', expected backbone.features \"c4\""):
        ModelSpec(("a",), mask_head=MaskHeadSpec(kind="res5"))


def test_the_stride_of_cells_is_for_a_pyramid():
    with pytest.raises(ValueError, match=r"^anchors.stride_of_cells: got True, expected False but for backbone"):
        ModelSpec(("a",), backbone=BackboneSpec(features="c5"), anchors=AnchorSpec(stride_of_cells=True))


def test_listed_anchors_say_how_many_a_cell_has():
    assert PIXELS.anchors.per_cell(1) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cells_px": ()}, r"^anchors.cells_px: got \(\), expected one or more levels of the same number"),
        ({"cells_px": (((0.0, 0.0, 1.0, 1.0),), ())}, r"^anchors.cells_px: got .* levels of the same number"),
        ({"cells_px": (((0.0, 0.0, 1.0, -1.0),),)}, r"^anchors.cells_px: got \(0.0, 0.0, 1.0, -1.0\), expected x0 y0"),
        ({"cells_px": (((0.0, 0.0, 1.0, float("nan")),),)}, r"^anchors.cells_px: got .*nan\), expected x0 y0"),
        ({"cells_px": PIXELS.anchors.cells_px, "stride_of_cells": True}, r"^anchors.stride_of_cells: got True, exp"),
    ],
)
def test_listed_anchors_are_boxes_and_equally_many_a_level(changes, message):
    with pytest.raises(ValueError, match=message):
        AnchorSpec(**changes)


def test_boxes_of_pixels_and_listed_anchors_go_together():
    with pytest.raises(ValueError, match=r"^pixel_boxes: got True, expected False without anchors.cells_px"):
        ModelSpec(("a",), pixel_boxes=True)
    with pytest.raises(ValueError, match=r"^anchors.cells_px: got .* expected null without pixel_boxes"):
        dataclasses.replace(PIXELS, pixel_boxes=False)
    with pytest.raises(ValueError, match=r"^anchors.cells_px: got .* expected the anchors of each of 5 level"):
        dataclasses.replace(PIXELS, backbone=BackboneSpec())


def test_conventions_compare_the_kind_of_boxes():
    usual = ModelSpec(("a",), backbone=BackboneSpec(features="c4"), anchors=AnchorSpec((32.0,)))
    assert differences(PIXELS, PIXELS) == []
    found = differences(PIXELS, usual)
    assert found[-1] == "pixel_boxes True (here False)"
    assert any(line.startswith("anchors.cells_px (((-22.0, ") for line in found)


def test_levels_and_their_names():
    levels = {f: BackboneSpec(features=f) for f in ("fpn", "c4", "c5", "dc5")}
    assert {name: body.rpn_levels for name, body in levels.items()} == {
        **{"fpn": (2, 3, 4, 5, 6), "c4": (4,), "c5": (5,), "dc5": (4,)}  # log2 of their strides
    }
    assert {name: body.feature_names for name, body in levels.items()} == {
        **{"fpn": ("p2", "p3", "p4", "p5"), "c4": ("c4",), "c5": ("c5",), "dc5": ("c5",)}
    }
    assert [body.feature_channels for body in levels.values()] == [256, 1024, 2048, 2048]


def test_pyramid_and_mask_head_say_what_their_norms_need():
    with pytest.raises(ValueError, match=r"^backbone.fpn_norm: got 'batch', expected one of \('none', 'group'\)"):
        BackboneSpec(fpn_norm="batch")
    with pytest.raises(ValueError, match=r"^backbone.norm_groups: got 32, expected a divisor of 8, the channels that"):
        BackboneSpec(fpn_norm="group", fpn_channels=8)
    with pytest.raises(ValueError, match=r"^backbone.fpn_norm: got 'group', expected 'none' for the features 'c5', wi"):
        BackboneSpec(fpn_norm="group", features="c5")
    with pytest.raises(ValueError, match=r"^mask_head.norm_groups: got 32, expected a divisor of 16, the channels"):
        MaskHeadSpec(norm="group", channels=16)
    with pytest.raises(ValueError, match=r"^mask_head.norm: got 'group', expected 'none' for the kind 'mlp', which"):
        MaskHeadSpec(norm="group", kind="mlp")


def test_a_box_head_says_what_its_norm_needs():
    with pytest.raises(ValueError, match=r"^box_head.norm: got 'batch', expected one of \('none', 'group'\) \(a batch"):
        BoxHeadSpec(num_convs=1, norm="batch")
    with pytest.raises(ValueError, match=r"^box_head.norm_groups: got 32, expected a divisor of 24, the channels that"):
        BoxHeadSpec(num_convs=1, conv_channels=24, norm="group")
    with pytest.raises(
        ValueError, match=r"^box_head.norm_groups: got 32, expected a divisor of 40, the channels that b"
    ):
        BoxHeadSpec(hidden=40, fc_norm="group")
    with pytest.raises(ValueError, match=r"^box_head.norm: got 'group', expected 'none' without convolutions"):
        BoxHeadSpec(norm="group")
    with pytest.raises(ValueError, match=r"^box_head.num_convs: got 4, expected 0 with backbone.features \"c4\""):
        ModelSpec(("a",), backbone=BackboneSpec(features="c4"), box_head=BoxHeadSpec(num_convs=4))


def test_a_mirror_swaps_the_keypoints_of_a_pair():
    head = KeypointHeadSpec(("nose", "left eye", "right eye"), (("left eye", "right eye"),))
    assert head.flip_order == (0, 2, 1)
    with pytest.raises(ValueError, match=r"keypoint_head.flip_pairs"):
        KeypointHeadSpec(("nose",), (("left eye", "right eye"),))


def test_a_file_of_before_has_its_list_and_pillow_s_filter():
    data = ModelSpec(("a",)).to_dict()
    assert data["preprocessing"].pop("canvas_multiple") is None
    assert data["preprocessing"].pop("resize_filter") == "pillow"
    assert data["preprocessing"].pop("size_rule") == "round"
    assert ModelSpec.from_dict(data) == ModelSpec(("a",))


@pytest.mark.parametrize("features", ["fpn", "c4", "c5"])
@pytest.mark.parametrize("multiple", [1, 16, 31, 32, 64, 96, 100])
def test_a_pyramid_needs_canvases_that_halve_five_times(features, multiple):
    """Stride 32 is the deepest level that is added to a finer one; a body read as it is takes any canvas."""
    sizes = (8.0, 16.0, 32.0, 64.0, 128.0)
    parts = {
        "preprocessing": PreprocessingSpec(canvases=(), canvas_multiple=multiple),
        "backbone": BackboneSpec(features=features),
        "anchors": AnchorSpec(sizes),
    }
    halves = [multiple / 2**times for times in range(6)]
    if features != "fpn" or all(half == int(half) for half in halves):
        assert ModelSpec(("a",), **parts).preprocessing.side_multiple == multiple
        return
    message = rf'preprocessing.canvas_multiple: got {multiple}, expected a multiple of 32 for backbone.features "fpn"'
    with pytest.raises(ValueError, match=message):
        ModelSpec(("a",), **parts)


def test_a_rule_of_keypoints_that_nobody_has_is_refused():
    with pytest.raises(
        ValueError, match=r"^keypoint_head.decoding: got 'argmax', expected one of \('parabola', 'bicub"
    ):
        KeypointHeadSpec(("nose",), decoding="argmax")
    with pytest.raises(ValueError, match=r"^keypoint_head.score: got 'max', expected one of \('softmax', 'logit'\)"):
        KeypointHeadSpec(("nose",), score="max")


def test_a_file_of_before_has_the_parabola_and_its_probability():
    spec = ModelSpec(("a",), keypoint_head=KeypointHeadSpec(("nose",)))
    data = spec.to_dict()
    assert (data["keypoint_head"].pop("decoding"), data["keypoint_head"].pop("score")) == ("parabola", "softmax")
    assert ModelSpec.from_dict(data) == spec


def test_one_of_list_and_multiple_decides():
    with pytest.raises(ValueError, match=r"canvases: got .*, expected an empty list beside canvas_multiple 32"):
        PreprocessingSpec(canvas_multiple=32)
    with pytest.raises(ValueError, match=r"canvases: got \(\), expected at least one .*or a canvas_multiple"):
        PreprocessingSpec(canvases=())


@pytest.mark.parametrize("text", ["[" * 5000, '{"format": ' + "9" * 5000 + "}"])
def test_what_breaks_a_reader_of_json_is_a_value_error(tmp_path, text):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ValueError, match=r"^[^\n]*not JSON[^\n]*$"):
        ModelSpec.load(tmp_path / "model.json")


def test_a_long_value_is_cut_in_the_message():
    with pytest.raises(ValueError, match=r"^[^\n]{1,400}$"):
        ModelSpec.from_dict({**ModelSpec(("a",)).to_dict(), "backbone": ["x" * 100_000]})
