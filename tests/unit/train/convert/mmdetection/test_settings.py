"""What a config says of mmdetection's network is read, compared with the weights, or refused by its name."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from maskline_train.convert.file import import_file
from maskline_train.convert.mmdetection.convert import import_mmdetection
from maskline_train.convert.options import ImportOptions
from maskline_train.convert.report import Imported
from maskline_train.spec import ModelSpec
from support.models import foreign
from support.models.mmdetection_configs import C4, FPN, changed, config_of, file_of, written
from torch import nn

CLASSES = ("pale", "dark", "round", "long", "other")


def imported(network: str, config: dict[str, Any], folder: Path, **more: Any) -> Imported:
    options = ImportOptions(config=written(config, folder), **more)
    return import_mmdetection(file_of(network).tensors, options, file_of(network).around)


def with_changes(network: str, changes: dict[str, Any]) -> dict[str, Any]:
    return changed(config_of(network), changes)


@pytest.mark.parametrize("network", [FPN, C4])
def test_every_setting_of_a_dump_is_known(network: str) -> None:
    weights = file_of(network)
    said = import_mmdetection(weights.tensors, ImportOptions(), weights.around).report
    assert not any("does not have" in line for line in said.left_out)
    assert "the 5 class name(s) are the file's own" in said.found
    assert "settings: the config in the file, of mmdetection or mmengine 3.3.0" in said.found


def test_a_project_s_own_setting_is_reported(tmp_path: Path) -> None:
    config = with_changes(FPN, {"model.roi_head.bbox_head.sharper": {"by": 2}})
    said = imported(FPN, config, tmp_path).report.left_out
    assert said == ["settings of the config that mmdetection does not have: model.roi_head.bbox_head.sharper.by"]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("type", "CascadeRCNN", "model.type is 'CascadeRCNN', supported: 'MaskRCNN'"),
        ("backbone.type", "ResNetV1d", "supported: 'ResNet', 'ResNeXt' .ResNet-D is not supported: its stem of three"),
        ("backbone.type", "mmdet.models.backbones.SwinTransformer", "model.backbone.type is 'SwinTransformer'"),
        ("backbone.depth", 101, "depth is 101, the weights have 50; they belong to two networks"),
        ("backbone.base_channels", 64, "stem_channels is 64, the weights have 8"),
        ("backbone.style", "torch", "style is 'torch', supported: 'pytorch', 'caffe'"),
        ("backbone.deep_stem", True, "deep_stem is True, supported: False"),
        ("backbone.avg_down", True, "avg_down is True, supported: False"),
        ("backbone.dcn", {"type": "DCN"}, "dcn.type is 'DCN', supported: None"),
        ("backbone.plugins", [{"cfg": 1}], "plugins is .*, supported: None"),
        ("backbone.dilations", (1, 1, 1, 2), r"dilations is \[1, 1, 1, 2\], supported: \[1, 1, 1, 1\]"),
        ("backbone.norm_cfg", {"type": "GN", "num_groups": 32}, "norm_cfg.type is 'GN', the weights have batch norms"),
        ("backbone.norm_cfg", {"type": "LN"}, "norm_cfg.type is 'LN', supported: None, 'GN', 'BN'"),
        ("backbone.norm_cfg", {"type": "BN", "eps": 0.001}, "norm_cfg.eps is 0.001, supported: 1e-05"),
        ("neck.type", "PAFPN", "neck.type is 'PAFPN', supported: 'FPN'"),
        ("neck", [{"type": "FPN"}, {"type": "BFP"}], r"model.neck is \[.*, supported: None"),
        ("neck.num_outs", 6, "num_outs is 6, supported: 5"),
        ("neck.add_extra_convs", "on_input", "add_extra_convs is 'on_input', supported: False"),
        ("neck.out_channels", 256, "out_channels is 256, the weights have 32"),
        ("rpn_head.type", "GARPNHead", "rpn_head.type is 'GARPNHead', supported: 'RPNHead'"),
        ("rpn_head.loss_cls.use_sigmoid", False, "rpn_head.loss_cls.use_sigmoid is False, supported: True"),
        ("rpn_head.num_convs", 2, "num_convs is 2, the weights have 1"),
        ("rpn_head.feat_channels", 64, "feat_channels is 64, supported: 32"),
        ("rpn_head.anchor_generator.type", "LegacyAnchorGenerator", "type is 'LegacyAnchorGenerator', supported: "),
        ("rpn_head.anchor_generator.strides", [8, 16, 32, 64, 128], r"strides is \[8, .*, supported: \[4, 8"),
        ("rpn_head.anchor_generator.scales", [4, 8], "has 6 anchors a cell, the weights have 3"),
        ("rpn_head.anchor_generator.scales", None, "scales is None, expected a list of numbers"),
        ("rpn_head.anchor_generator.ratios", [0.5, "wide", 2], "ratios is .*, expected something like"),
        ("rpn_head.anchor_generator.base_sizes", [4, 8], r"base_sizes is \[4, 8\], expected one a level"),
        ("roi_head.type", "DynamicRoIHead", "type is 'DynamicRoIHead', supported: 'StandardRoIHead'"),
        ("roi_head.bbox_roi_extractor.type", "GenericRoIExtractor", "supported: 'SingleRoIExtractor'"),
        ("roi_head.bbox_roi_extractor.finest_scale", 28, "of the mask head .*, supported: the same"),
        ("roi_head.bbox_head.type", "DoubleConvFCBBoxHead", "supported: 'Shared2FCBBoxHead', 'Shared4Conv1FCBBoxHead'"),
        ("roi_head.bbox_head.num_classes", 80, "num_classes is 80, the weights have 5"),
        ("roi_head.bbox_head.reg_class_agnostic", True, "reg_class_agnostic is True, the weights have False"),
        ("roi_head.bbox_head.loss_cls.type", "SeesawLoss", "loss_cls.type is 'SeesawLoss', supported: "),
        ("roi_head.bbox_head.loss_cls.use_sigmoid", True, "bbox_head.loss_cls.use_sigmoid is True, supported: False"),
        ("roi_head.bbox_head.bbox_coder.type", "LegacyDeltaXYWHBBoxCoder", "supported: 'DeltaXYWHBBoxCoder'"),
        ("roi_head.bbox_head.bbox_coder.clip_border", False, "clip_border is False, supported: True"),
        ("roi_head.bbox_head.bbox_coder.target_stds", [0.1, 0.2], r"target_stds is \[0.1, 0.2\], expected something"),
        (
            "roi_head.bbox_head.cls_predictor_cfg",
            {"type": "NormedLinear"},
            "type is 'NormedLinear', supported: 'Linear'",
        ),
        ("roi_head.mask_head.type", "CoarseMaskHead", "type is 'CoarseMaskHead', supported: 'FCNMaskHead'"),
        ("roi_head.mask_head.upsample_cfg", {"type": "carafe"}, "upsample_cfg.type is 'carafe', supported: 'deconv'"),
        ("test_cfg.rcnn.nms.type", "soft_nms", "test_cfg.rcnn.nms.type is 'soft_nms', supported: 'nms'"),
        ("test_cfg.rcnn.nms.class_agnostic", True, "class_agnostic is True, supported: False"),
        ("test_cfg.rcnn.mask_thr_binary", 0.4, "mask_thr_binary is 0.4, supported: 0.5"),
        ("test_cfg.rcnn.score_thr", "low", "score_thr is 'low', expected something like 0.05"),
        ("test_cfg.rcnn.max_per_img", -1, "box_head.max_detections: got -1, expected at least 1"),
        ("test_cfg.rpn", {"nms_pre": 1000}, "says nothing of model.test_cfg.rpn.max_per_img, model.test_cfg.rpn.nms"),
        ("data_preprocessor.mean", [1.0, 2.0], r"mean is \[1.0, 2.0\], expected three numbers"),
        ("data_preprocessor.pad_size_divisor", 0, "a multiple of 0, expected a whole number from 1 on"),
        ("data_preprocessor.pad_size_divisor", 1, "canvas_multiple: got 1, expected a multiple of 32"),
        ("data_preprocessor.pad_value", 114, "pad_value is 114, supported: 0"),
    ],
)
def test_a_setting_that_contradicts_the_weights_or_asks_for_more(
    name: str, value: Any, text: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"^[^\n]*{text}[^\n]*$"):
        imported(FPN, with_changes(FPN, {f"model.{name}": value}), tmp_path)


RESIZE, LOAD = {"type": "Resize", "scale": (427, 256), "keep_ratio": True}, {"type": "LoadImageFromFile"}


@pytest.mark.parametrize(
    ("pipeline", "text"),
    [
        ([], "says no test pipeline"),
        ([LOAD], "has 0 steps of Resize or FixScaleResize"),
        ([LOAD, RESIZE, {"type": "Pad", "size": (1024, 1024)}], "has a step 'Pad', which is not supported"),
        ([LOAD, RESIZE, {"type": "mmdet.datasets.transforms.PhotoMetricDistortion"}], "a step 'PhotoMetricDistortion'"),
        ([{**LOAD, "to_float32": True}, RESIZE], "to_float32 is True, supported: False"),
        ([{**LOAD, "color_type": "grayscale"}, RESIZE], "color_type is 'grayscale', supported: 'color'"),
        ([LOAD, {"type": "Resize", "scale": (427, 256)}], "Resize.keep_ratio is False, supported: True"),
        ([LOAD, {**RESIZE, "scale": 0.5}], "has scale 0.5, expected two sides"),
        ([LOAD, {**RESIZE, "scale_factor": 0.5}], "expected two sides"),
        ([LOAD, {**RESIZE, "interpolation": "bicubic"}], "interpolation is 'bicubic', supported: 'bilinear'"),
        ([LOAD, {**RESIZE, "backend": "torch"}], "backend is 'torch', supported: 'cv2', 'pillow'"),
    ],
)
def test_a_step_of_the_test_pipeline_that_is_not_supported(pipeline: list[Any], text: str, tmp_path: Path) -> None:
    config = with_changes(FPN, {"test_dataloader.dataset.pipeline": pipeline, "test_pipeline": pipeline})
    with pytest.raises(ValueError, match=f"^config: [^\n]*{text}[^\n]*$"):
        imported(FPN, config, tmp_path)


def test_resizes_of_every_kind(tmp_path: Path) -> None:
    for step, rule, resize_filter in (
        ({**RESIZE, "type": "mmdet.datasets.transforms.FixScaleResize"}, "floor", "cv2"),
        ({**RESIZE, "backend": "pillow"}, "round", "pillow"),
        ({**RESIZE, "scale": [(256, 427)]}, "round", "cv2"),
    ):
        config = with_changes(FPN, {"test_dataloader.dataset": {"dataset": {"pipeline": [LOAD, step]}}})
        found = imported(FPN, config, tmp_path).model.spec.preprocessing
        assert (found.shorter_side_px, found.longer_side_px) == (256, 427)
        assert (found.size_rule, found.resize_filter) == (rule, resize_filter)


def older(config: dict[str, Any], **flip_aug: Any) -> dict[str, Any]:
    """The config as 2.x has it: the pipeline normalises and pads, older names, `test_cfg` beside the model."""
    model = config["model"]
    preprocessor = model.pop("data_preprocessor")
    inner = [
        {"type": "Resize", "keep_ratio": True},
        {"type": "RandomFlip"},
        {
            "type": "Normalize",
            "mean": preprocessor["mean"],
            "std": preprocessor["std"],
            "to_rgb": preprocessor["bgr_to_rgb"],
        },
        {"type": "Pad", "size_divisor": 32},
        {"type": "ImageToTensor", "keys": ["img"]},
        {"type": "Collect", "keys": ["img"]},
    ]
    views = {"type": "MultiScaleFlipAug", "img_scale": (427, 256), "flip": False, "transforms": inner, **flip_aug}
    test_cfg = model.pop("test_cfg")
    test_cfg["rpn"]["nms_thr"] = test_cfg["rpn"].pop("nms")["iou_threshold"]
    test_cfg["rpn"]["nms_post"] = test_cfg["rpn"]["max_num"] = test_cfg["rpn"].pop("max_per_img")
    test_cfg["rcnn"]["nms"]["iou_thr"] = test_cfg["rcnn"]["nms"].pop("iou_threshold")
    layer = model["roi_head"]["bbox_roi_extractor"]["roi_layer"]
    layer["out_size"], layer["sample_num"] = layer.pop("output_size"), layer.pop("sampling_ratio")
    return {"model": model, "test_cfg": test_cfg, "data": {"test": {"type": "CocoDataset", "pipeline": [LOAD, views]}}}


@pytest.mark.parametrize("network", [FPN, C4])
def test_a_config_of_2_x_says_the_same(network: str, tmp_path: Path) -> None:
    new = import_mmdetection(file_of(network).tensors, ImportOptions(), file_of(network).around).model
    old = imported(network, older(config_of(network)), tmp_path).model
    assert old.spec == new.spec
    assert all(torch.equal(tensor, new.state_dict()[name]) for name, tensor in old.state_dict().items())
    around = {
        "meta": {"config": "".join(f"{k} = {v!r}\n" for k, v in older(config_of(network)).items()), "CLASSES": CLASSES}
    }
    assert import_mmdetection(file_of(network).tensors, ImportOptions(), around).model.spec == new.spec


def test_what_2_x_does_not_have_here(tmp_path: Path) -> None:
    for flip_aug in ({"flip": True}, {"img_scale": [(427, 256), (640, 400)]}, {"scale_factor": 2.0}):
        with pytest.raises(ValueError, match="answers joined from several views of a picture are not supported"):
            imported(FPN, older(config_of(FPN), **flip_aug), tmp_path)
    config = older(config_of(FPN))
    steps = config["data"]["test"]["pipeline"][1]["transforms"]
    steps[2], steps[3] = steps[3], steps[2]
    with pytest.raises(ValueError, match="Pad stands before Normalize"):
        imported(FPN, config, tmp_path)
    del steps[2:4]
    with pytest.raises(ValueError, match=r"has neither model.data_preprocessor .* nor a step Normalize"):
        imported(FPN, config, tmp_path)


def test_the_order_of_channels(tmp_path: Path) -> None:
    rgb = imported(FPN, config_of(FPN), tmp_path).model
    assert rgb.spec.preprocessing.mean == (123.675, 116.28, 103.53)
    said = imported(FPN, with_changes(FPN, {"model.data_preprocessor.bgr_to_rgb": False}), tmp_path).model
    chosen = imported(FPN, config_of(FPN), tmp_path, channels="bgr").model
    for bgr in (said, chosen):
        assert bgr.spec.preprocessing.mean == (103.53, 116.28, 123.675)
        assert torch.equal(bgr.backbone.body.conv1.weight, rgb.backbone.body.conv1.weight.flip(1))


def test_anchors_by_scale_are_not_permuted(tmp_path: Path) -> None:
    """Of 15 anchors of a cell the second in their order, of ratio 0.5 and scale 4, is the fourth of ours."""
    by_ratio = imported(C4, config_of(C4), tmp_path).model.rpn_head
    config = with_changes(C4, {"model.rpn_head.anchor_generator.scale_major": False})
    as_it_is = imported(C4, config, tmp_path).model.rpn_head
    assert torch.equal(as_it_is.logits.bias, file_of(C4).tensors["rpn_head.rpn_cls.bias"])
    assert torch.equal(by_ratio.logits.bias[3], as_it_is.logits.bias[1])
    assert torch.equal(by_ratio.deltas.weight[12:16], as_it_is.deltas.weight[4:8])


def test_octaves_are_scales(tmp_path: Path) -> None:
    octaves = {"scales": None, "octave_base_scale": 2, "scales_per_octave": 5}
    config = with_changes(C4, {f"model.rpn_head.anchor_generator.{name}": value for name, value in octaves.items()})
    sizes = imported(C4, config, tmp_path).model.spec.anchors.sizes_px
    assert sizes == tuple(pytest.approx(32 * 2 ** (part / 5)) for part in range(5))


def test_means_and_stds_of_boxes_are_inside_of_the_weights(tmp_path: Path) -> None:
    means, stds = [0.5, -0.5, 0.25, 0.0], [0.5, 0.25, 1.0, 2.0]
    coders = ("rpn_head", "roi_head.bbox_head")
    changes = {
        f"model.{head}.bbox_coder.target_{part}": value
        for head in coders
        for part, value in (("means", means), ("stds", stds))
    }
    model = imported(FPN, with_changes(FPN, changes), tmp_path).model
    tensors = file_of(FPN).tensors
    std, mean = torch.tensor(stds), torch.tensor(means)
    rpn, box = tensors["rpn_head.rpn_reg.bias"].view(-1, 4), tensors["roi_head.bbox_head.fc_reg.bias"].view(-1, 4)
    assert torch.equal(model.rpn_head.deltas.bias.view(-1, 4), rpn * std + mean)
    kernel = tensors["rpn_head.rpn_reg.weight"]
    assert torch.equal(model.rpn_head.deltas.weight, kernel * std.repeat(3)[:, None, None, None])
    assert model.spec.box_head.delta_weights == (2, 4, 1, 0.5)
    assert torch.equal(model.box_head.box_deltas.bias.view(-1, 4) * std, box * std + mean)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"norm_eps": 0.0}, "--norm-eps: mmdetection's networks all add 1e-5"),
        ({"zoo": True}, "--zoo-settings: mmdetection's files have their config inside"),
        ({"keypoints": ("a",)}, "--keypoints: the weights have no keypoint branch"),
        ({"classes": ("a", "b")}, "--classes: got 2 names, the weights have 5 classes"),
        ({"settings": {"box_head.nms": 1}}, "--set box_head.nms: no such field"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{foreign.checkpoint(FPN)}: {text}"):
        import_file(foreign.checkpoint(FPN), ImportOptions(**options))


def test_what_a_file_without_meta_lacks_is_asked_for(tmp_path: Path) -> None:
    tensors, meta = file_of(FPN).tensors, file_of(FPN).around["meta"]
    with pytest.raises(ValueError, match=r"the file has no config in its `meta`.*by --config"):
        import_mmdetection(tensors, ImportOptions(), {})
    options = ImportOptions(config=written(config_of(FPN), tmp_path))
    with pytest.raises(ValueError, match="class names: the file's `meta` has none for 5 classes"):
        import_mmdetection(tensors, options, {"meta": None})
    with pytest.raises(ValueError, match="class names: the file's `meta` has 1 for 5 classes"):
        import_mmdetection(tensors, options, {"meta": {"CLASSES": "cat"}})
    for names in ({"CLASSES": list(CLASSES)}, {"dataset_meta": {"CLASSES": CLASSES}}, meta):
        assert import_mmdetection(tensors, options, {"meta": names}).model.spec.classes == CLASSES
    named = dataclasses.replace(options, classes=tuple("abcde"))
    assert import_mmdetection(tensors, named, {}).model.spec.classes == tuple("abcde")


def test_an_average_of_2_x_between_the_weights_is_left_out() -> None:
    tensors = {**file_of(FPN).tensors, "ema_backbone_conv1_weight": torch.ones(3)}
    said = import_mmdetection(tensors, ImportOptions(), file_of(FPN).around).report.left_out
    assert said == ["1 tensors of an average of the weights (ema_...)"]


def test_a_weight_of_no_part_is_named() -> None:
    tensors = {**file_of(FPN).tensors, "roi_head.bbox_head.extra.weight": torch.ones(3)}
    with pytest.raises(ValueError, match=r"weight 'roi_head.bbox_head.extra.weight': of no part of a Faster or Mask"):
        import_mmdetection(tensors, ImportOptions(), file_of(FPN).around)


@pytest.mark.parametrize("groups", [8, 4])
def test_a_slim_body_has_the_groups_that_its_config_says(groups: int, tmp_path: Path) -> None:
    norm = {"type": "GN", "num_groups": groups}
    tensors = {name.replace(".bn", ".gn"): each for name, each in file_of(FPN).tensors.items() if "running" not in name}
    options = ImportOptions(config=written(with_changes(FPN, {"model.backbone.norm_cfg": norm}), tmp_path))
    model = import_mmdetection(tensors, options, file_of(FPN).around).model
    body = [module.num_groups for module in model.backbone.body.modules() if isinstance(module, nn.GroupNorm)]
    assert body
    assert set(body) == {groups}  # 8 channels in the stem: a channel a group


def test_training_goes_on_as_the_config_says(tmp_path: Path) -> None:
    def backbone(changes: dict[str, Any]) -> ModelSpec:
        return imported(FPN, with_changes(FPN, changes), tmp_path).model.spec

    for changes, norm in (
        ({}, "frozen_batch"),
        ({"model.backbone.norm_eval": False}, "batch"),
        ({"model.backbone.norm_eval": False, "model.backbone.norm_cfg.type": "SyncBN"}, "sync_batch"),
    ):
        assert backbone(changes).backbone.norm == norm
    assert backbone({}).backbone.frozen_stages == 2
    assert backbone({"model.backbone.frozen_stages": -1}).backbone.frozen_stages == 0


def test_several_convolutions_of_the_rpn_have_their_places(tmp_path: Path) -> None:
    """As in the LSJ baselines: `rpn_conv` is then a row of convolutions."""
    tensors = dict(file_of(FPN).tensors)
    for part in ("weight", "bias"):
        tensors[f"rpn_head.rpn_conv.0.conv.{part}"] = tensors.pop(f"rpn_head.rpn_conv.{part}")
        tensors[f"rpn_head.rpn_conv.1.conv.{part}"] = tensors[f"rpn_head.rpn_conv.0.conv.{part}"] + 1
    options = ImportOptions(config=written(with_changes(FPN, {"model.rpn_head.num_convs": 2}), tmp_path))
    head = import_mmdetection(tensors, options, file_of(FPN).around).model.rpn_head
    assert torch.equal(head.conv.weight, tensors["rpn_head.rpn_conv.0.conv.weight"])
    assert torch.equal(head.more_convs[0].bias, tensors["rpn_head.rpn_conv.1.conv.bias"])
