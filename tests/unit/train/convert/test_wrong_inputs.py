"""What is wrong with weights, config or options is said in one line, and what matters and is not known is asked for."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from maskline_train.checkpoint import save_model
from maskline_train.convert.detectron2.config import read_config
from maskline_train.convert.file import import_file
from maskline_train.convert.options import ImportOptions, names_of, parse_settings
from maskline_train.data import coco_things
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.spec import ModelSpec, RoIAlignSpec
from maskline_train.starting_weights import start_from
from support.models import foreign

NETWORK = "detectron2/mask_fpn_bgr"
CHECKPOINT, OPTIONS = foreign.checkpoint(NETWORK), foreign.options(NETWORK)


def fails(options: ImportOptions, text: str, path: Path = CHECKPOINT) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: [^\n]*{text}[^\n]*$"):
        import_file(path, options)


def changed(tmp_path: Path, changes: dict[str, Any]) -> ImportOptions:
    """The options with a config in which these settings, by their full names, are others."""
    assert OPTIONS.config is not None
    content = yaml.safe_load(OPTIONS.config.read_text(encoding="utf-8"))
    for name, value in changes.items():
        *parents, last = name.split(".")
        part = content
        for parent in parents:
            part = part[parent]
        part[last] = value
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return dataclasses.replace(OPTIONS, config=path)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("MODEL.ROI_HEADS.NUM_CLASSES", 80, "NUM_CLASSES is 80, the weights have 5; they belong to two networks"),
        ("MODEL.RESNETS.DEPTH", 101, "DEPTH is 101, the weights have 50"),
        ("MODEL.RESNETS.NORM", "GN", "NORM is 'GN', the weights have batch norms"),
        ("MODEL.MASK_ON", False, "MASK_ON is False, the weights have True"),
        ("MODEL.ROI_BOX_HEAD.NUM_FC", 1, "NUM_FC is 1, the weights have 2"),
        ("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", [[1.0]], "got 1 anchors a cell, the weights have 3"),
        ("MODEL.ANCHOR_GENERATOR.SIZES", [[32], [64]], "expected as many sizes for each of 5 level"),
        ("INPUT.FORMAT", "RGB", "INPUT.FORMAT RGB with MODEL.PIXEL_MEAN .*: these means are in the other order"),
        ("INPUT.FORMAT", "YUV-BT.601", "got 'YUV-BT.601', expected BGR or RGB"),
        ("MODEL.ROI_BOX_HEAD.POOLER_TYPE", "ROIAlignRotated", "got .*, expected the same for all heads"),
        ("MODEL.FPN.FUSE_TYPE", "avg", "FUSE_TYPE is 'avg', supported: 'sum'"),
        ("MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE", True, "USE_SIGMOID_CE is True, supported: False"),
        ("MODEL.META_ARCHITECTURE", "PanopticFPN", "META_ARCHITECTURE is 'PanopticFPN', supported: 'GeneralizedRCNN'"),
        ("MODEL.RPN.NMS_THRESH", "high", "NMS_THRESH is 'high', expected something like 0.7"),
        ("INPUT.MIN_SIZE_TEST", [256, 300], r"MIN_SIZE_TEST is \[256, 300\], expected something like 800"),
        ("MODEL.PIXEL_STD", 1.0, r"PIXEL_STD is 1.0, expected something like \[1.0, 1.0, 1.0\]"),
        ("MODEL.RESNETS.STRIDE_IN_1X1", 1, "STRIDE_IN_1X1 is 1, expected something like True"),
        ("MODEL.ANCHOR_GENERATOR.SIZES", [32, 64], r"SIZES is \[32, 64\], expected something like \[\[32\], "),
        ("INPUT.MAX_SIZE_TEST", 427.5, r"longer_side_px: got 427.5, expected a int"),
        ("MODEL.PIXEL_MEAN", [1.0, 2.0], r"PIXEL_MEAN is \[1.0, 2.0\], expected something like \[103.53, "),
        ("MODEL.RPN", None, "config: says nothing of MODEL.RPN.BBOX_REG_WEIGHTS, MODEL.RPN.NMS_THRESH, "),
        ("TEST.AUG.ENABLED", True, "TEST.AUG.ENABLED is True, supported: False"),
        ("VERSION", 1, "VERSION is 1, supported: 2"),
        ("MODEL.BACKBONE.NAME", "build_mnv2_backbone", "NAME is .*, supported: 'build_resnet_fpn_backbone'"),
        ("MODEL.FPN.NORM", "LN", "FPN.NORM is 'LN', supported: '', 'GN', 'BN'"),
        ("MODEL.FPN.NORM", "GN", "FPN.NORM is 'GN', the weights have no norms"),
        ("MODEL.ROI_MASK_HEAD.NORM", "BN", "ROI_MASK_HEAD.NORM is 'BN', the weights have no norms"),
        ("MODEL.RESNETS.NORM", "", "RESNETS.NORM is '', the weights have batch norms"),
        ("MODEL.RESNETS.RES5_DILATION", 2, "RES5_DILATION is 2, supported: 1"),
        ("MODEL.RESNETS.WIDTH_PER_GROUP", 64, "WIDTH_PER_GROUP is 64, the weights have 8"),
        ("MODEL.RESNETS.RES2_OUT_CHANNELS", 256, "RES2_OUT_CHANNELS is 256, supported: 32"),
        ("MODEL.RESNETS.DEFORM_ON_PER_STAGE", [False, True, True, True], "DEFORM_ON_PER_STAGE is .*, supported: "),
        ("MODEL.RPN.IN_FEATURES", ["p3", "p4", "p5", "p6"], "RPN.IN_FEATURES is .*, supported: .'p2', 'p3'"),
        ("MODEL.ROI_HEADS.IN_FEATURES", ["p2"], "ROI_HEADS.IN_FEATURES is .*, supported: .'p2', 'p3'"),
        ("MODEL.FPN.IN_FEATURES", ["res3", "res4", "res5"], "FPN.IN_FEATURES is .*, supported: .'res2'"),
        ("MODEL.RPN.CONV_DIMS", [-1, -1], r"CONV_DIMS is \[32, 32\], the weights have \[32\]"),
        ("MODEL.RPN.HEAD_NAME", "Other", "HEAD_NAME is 'Other', supported: 'StandardRPNHead'"),
        ("MODEL.PROPOSAL_GENERATOR.NAME", "RRPN", "NAME is 'RRPN', supported: 'RPN'"),
        ("MODEL.LOAD_PROPOSALS", True, "LOAD_PROPOSALS is True, supported: False"),
        ("MODEL.ROI_BOX_HEAD.NAME", "MyHead", "ROI_BOX_HEAD.NAME is 'MyHead', supported: 'FastRCNNConvFCHead'"),
        ("MODEL.ROI_MASK_HEAD.NAME", "PointHead", "ROI_MASK_HEAD.NAME is 'PointHead', supported: 'MaskRCNNConv"),
        ("MODEL.ROI_MASK_HEAD.NUM_CONV", 8, "ROI_MASK_HEAD.NUM_CONV is 8, the weights have 4"),
        ("MODEL.RPN.NMS_THRESH", float("nan"), "NMS_THRESH is nan, expected something like 0.7"),
    ],
)
def test_a_config_that_contradicts_the_weights_or_asks_for_more(
    name: str, value: Any, text: str, tmp_path: Path
) -> None:
    fails(changed(tmp_path, {name: value}), text)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"config": None}, "do not say channel order, stride, sampling.*--config, or say --zoo-settings"),
        ({"classes": ("a", "b")}, "--classes: got 2 names, the weights have 5 classes"),
        ({"classes": None}, "class names: neither weights nor config have them; give the 5 names by --classes"),
        ({"keypoints": ("a",)}, "--keypoints: the weights have no keypoint branch; leave it out"),
        ({"settings": {"classes": "cat"}}, "--set classes: say it by --classes a,b,c"),
        ({"norm_eps": 0.0}, "--norm-eps: detectron2's networks all add 1e-5"),
        ({"settings": {"box_head.nms": 1}}, "--set box_head.nms: no such field of model.json"),
        ({"settings": {"box_head": 1}}, "--set box_head: no such field of model.json"),
        ({"settings": {"box_head.nms_thresh": 2.0}}, r"box_head.nms_thresh: got 2.0, expected above 0"),
        (
            {"settings": {"box_head.hidden": 3}},
            r"weight .box_head.fc1.weight.: got shape \[64, 1568\], expected \[3, 1568\]",
        ),
    ],
)
def test_options_that_do_not_fit_or_are_missing(changes: dict[str, Any], text: str) -> None:
    fails(dataclasses.replace(OPTIONS, **changes), text)


def test_a_setting_changes_the_spec_and_the_channels_can_be_said(tmp_path: Path) -> None:
    wrong = changed(tmp_path, {"INPUT.FORMAT": "RGB"})
    options = dataclasses.replace(wrong, channels="bgr", settings={"box_head.score_thresh": 0.3})
    imported, right = (import_file(CHECKPOINT, each).model for each in (options, OPTIONS))
    assert imported.spec.box_head.score_thresh == 0.3
    assert imported.spec.preprocessing == right.spec.preprocessing
    assert torch.equal(imported.backbone.body.conv1.weight, right.backbone.body.conv1.weight)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("MODEL: !!python/object/apply:eval ['1']", "asks for Python code .*, which is not run"),
        ("model:\n  _target_: detectron2.modeling.GeneralizedRCNN", "a LazyConfig is code"),
        ("just words", "no config of settings"),
        ("MODEL: [1", "not YAML"),
        ("_BASE_: config.yaml", "is its own _BASE_"),
        ("[" * 100_000, "not YAML"),
        (
            "\n".join(["a0: &a0 {b: 1}", *(f"a{i}: &a{i} {{b: *a{i - 1}, c: *a{i - 1}}}" for i in range(1, 50))]),
            "no conf",
        ),
        ("a: 2001-13-01", "not YAML"),
        ("_BASE_: ../Base-RCNN-FPN.yaml", r"its base ../Base-RCNN-FPN.yaml is not there"),
    ],
)
def test_a_config_that_is_none(content: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(content, encoding="utf-8")
    with pytest.raises((ValueError, FileNotFoundError), match=rf"config.yaml: [^\n]*{text}[^\n]*$"):
        read_config(tmp_path / "config.yaml")


def test_a_base_s_settings_count_where_the_config_is_silent(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("MODEL: {MASK_ON: true, RPN: {NMS_THRESH: 0.6}}", encoding="utf-8")
    (tmp_path / "config.yaml").write_text("_BASE_: base.yaml\nMODEL: {MASK_ON: false}", encoding="utf-8")
    assert read_config(tmp_path / "config.yaml") == {"MODEL.MASK_ON": False, "MODEL.RPN.NMS_THRESH": 0.6}


def test_names_and_settings_as_they_are_typed(tmp_path: Path) -> None:
    (tmp_path / "names").write_bytes("\ufefftraffic light\r\nstop sign\r\n\r\n".encode())
    assert names_of("cat, dog") == ("cat", "dog")
    assert names_of(str(tmp_path / "names")) == ("traffic light", "stop sign")
    with pytest.raises(ValueError, match="expected names with commas between them"):
        names_of("cat,,dog")
    assert names_of(",".join(coco_things.NAMES)) == coco_things.NAMES  # 80 of them: longer than a file's name may be
    with pytest.raises(IsADirectoryError, match=f"{tmp_path}: a folder, expected names"):
        names_of(str(tmp_path))
    (tmp_path / "names").write_bytes("café".encode("latin-1"))
    with pytest.raises(ValueError, match=f"{tmp_path}/names: not UTF-8 .*; save it as UTF-8"):
        names_of(str(tmp_path / "names"))
    assert parse_settings(["a.b=0.5", "c=[1, 2]", "d=true", "e=word"]) == {
        "a.b": 0.5,
        "c": [1, 2],
        "d": True,
        "e": "word",
    }
    for text in ("a=NaN", "a=[1, -Infinity]", "a=1e999", "a=" + 400 * "9", "a=[[[1]]]", "a=" + 100_000 * "["):
        with pytest.raises(ValueError, match=r"^--set a: got [^\n]{,80}, expected a word, a finite number"):
            parse_settings([text])
    with pytest.raises(ValueError, match="--set a: got it twice"):
        parse_settings(["a=1", "a=2"])
    for text in ("a.b", "=1", "a="):
        with pytest.raises(ValueError, match="expected FIELD=VALUE"):
            parse_settings([text])


def test_training_does_not_start_from_a_foreign_file(tmp_path: Path) -> None:
    weights = torch.load(CHECKPOINT, weights_only=True)["model"]
    torch.save(weights, tmp_path / "model.pth")
    with pytest.raises(
        ValueError, match=r"model.pth: got a network of detectron2, .*`maskline-train import .*/model.pth OUT`"
    ):
        start_from(tmp_path / "model.pth", MaskRCNN(ModelSpec(classes=("a",))))
    with pytest.raises(ValueError, match="comes over by `maskline-train import`"):
        start_from(CHECKPOINT, MaskRCNN(ModelSpec(classes=("a",))))


def test_training_that_starts_from_an_import_says_which_conventions_the_recipe_changes(tmp_path: Path) -> None:
    imported = import_file(CHECKPOINT, OPTIONS).model
    save_model(tmp_path / "mine", imported)
    spec = dataclasses.replace(imported.spec, roi_align=RoIAlignSpec(sampling_ratio=2))
    said = start_from(tmp_path / "mine", MaskRCNN(spec))
    assert said.endswith("; their network had other conventions: roi_align.sampling_ratio 0 (here 2)")
    assert f"{len(imported.state_dict())} tensors fit" in said
    assert start_from(tmp_path / "mine", MaskRCNN(imported.spec)).endswith("tensors fit")
