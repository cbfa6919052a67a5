"""Networks of Detectron come over whole: these files were made by turning backwards what an import turns."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from maskline_train.convert.detectron.anchors import by_size, generated
from maskline_train.convert.detectron.convert import import_detectron
from maskline_train.convert.file import import_file
from maskline_train.convert.frameworks import recognise
from maskline_train.convert.options import ImportOptions
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.spec import ModelSpec
from support.models import detectron_configs, detectron_files, detectron_specs, foreign
from support.models.detectron_specs import C4, FPN, as_detectron
from torch import Tensor

KINDS = {kind: as_detectron(spec) for kind, spec in detectron_specs.KINDS.items()}


def files_of(spec: ModelSpec) -> tuple[MaskRCNN, dict[str, Tensor]]:
    model = detectron_files.random_network(spec, statistics=False)
    return model, detectron_files.blobs_of_detectron(model.state_dict(), spec)


def assert_same(imported: MaskRCNN, own: MaskRCNN) -> None:
    expected = own.state_dict()
    assert imported.state_dict().keys() == expected.keys()
    for name, tensor in imported.state_dict().items():
        # A root and a product in float32, and back: three roundings of 6e-8.
        torch.testing.assert_close(tensor, expected[name], rtol=5e-7, atol=0, msg=name)


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_becomes_the_network_that_it_was_made_of(kind: str, protocol: int, tmp_path: Path) -> None:
    spec = KINDS[kind]
    own, blobs = files_of(spec)
    beside = {"conv1_w_momentum": blobs["conv1_w"] * 0, "fc1000_w": torch.ones(2, 2), "kps_score_w": torch.ones(1, 1)}
    path = tmp_path / "model_final.pkl"
    detectron_files.save_detectron(
        path, {**blobs, **beside}, detectron_configs.dumped(detectron_configs.settings_of(spec)), protocol
    )
    imported = import_file(path, ImportOptions(classes=spec.classes))
    assert imported.model.spec == spec
    assert_same(imported.model, own)
    assert imported.report.found[0].startswith("Detectron, ResNet-50 ")
    assert "the config is the file's own (cfg)" in imported.report.found
    assert any(line.startswith("3 blobs that no network reads") for line in imported.report.left_out)
    assert not [line for line in imported.report.assumed if "PIXEL_MEANS" in line]


def test_a_scale_and_a_shift_are_exact(tmp_path: Path) -> None:
    """y = s x + b, without what a batch norm adds to its variance."""
    _, blobs = files_of(KINDS["a pyramid"])
    config = detectron_configs.dumped(detectron_configs.settings_of(KINDS["a pyramid"]))
    norm = import_detectron(blobs, ImportOptions(classes=FPN.classes), config).model.backbone.body.bn1
    conv = torch.nn.Conv2d(8, 8, 1, bias=False)
    torch.nn.init.dirac_(conv.weight)
    x = torch.randn(1, 8, 3, 3)
    expected = x * blobs["res_conv1_bn_s"][:, None, None] + blobs["res_conv1_bn_b"][:, None, None]
    # A convolution of zeros and a one, a product and a sum: float32's rounding of numbers up to 10.
    torch.testing.assert_close(norm.after(conv, x), expected, rtol=0, atol=2e-6)


def test_a_full_size_network_is_recognised_and_loads_whole() -> None:
    weights = foreign.weights("detectron_e2e_mask_rcnn_R-50-FPN")
    assert recognise(weights) == "detectron"
    report = import_detectron(weights, ImportOptions(zoo=True)).report
    assert report.found[0] == f"Detectron, ResNet-50 FPN, 80 classes, boxes, masks; {len(weights)} tensors"


def test_files_of_these_tests_have_the_real_network_s_names_and_shapes() -> None:
    spec = dataclasses.replace(
        FPN,
        classes=tuple(f"class {index}" for index in range(80)),
        backbone=dataclasses.replace(FPN.backbone, base_channels=64, fpn_channels=256),
        box_head=dataclasses.replace(FPN.box_head, hidden=1024),
        mask_head=FPN.mask_head and dataclasses.replace(FPN.mask_head, channels=256),
    )
    with torch.device("meta"):
        blobs = detectron_files.blobs_of_detectron(dict(MaskRCNN(spec).state_dict()), spec)
    expected = foreign.shapes("detectron_e2e_mask_rcnn_R-50-FPN")
    assert {name: tuple(tensor.shape) for name, tensor in blobs.items()} == expected


def test_group_norms_and_convolutions_in_the_box_head() -> None:
    """`e2e_mask_rcnn_R-50-FPN_3x_gn`: norms have other names, four convolutions stand before one layer."""
    _, blobs = files_of(KINDS["a pyramid"])
    new: dict[str, Tensor] = {}
    for name, tensor in blobs.items():
        if name in ("fc7_w", "fc7_b"):
            continue
        conv = name.startswith(("fpn_", "_[mask]_fcn"))
        if not (conv and name.endswith("_b")):
            new[name.replace("res_conv1_bn", "conv1_gn").replace("_bn_", "_gn_")] = tensor
        if conv and name.endswith("_w"):
            new |= {name[:-1] + f"gn_{part}": torch.randn(len(tensor)) for part in "sb"}
    for index in range(1, 5):
        new[f"head_conv{index}_w"] = torch.randn(32, 16, 3, 3) if index == 1 else torch.randn(32, 32, 3, 3)
        new |= {f"head_conv{index}_gn_{part}": torch.randn(32) for part in "sb"}
    new["fc6_w"] = torch.randn(32, 32 * 49)
    sections = detectron_configs.settings_of(FPN)
    sections["RESNETS"]["STRIDE_1X1"] = False
    with pytest.raises(ValueError, match="expected a divisor of 16, the channels that"):
        import_detectron(
            new, ImportOptions(classes=FPN.classes), detectron_configs.dumped(sections)
        )  # 32 groups: published widths
    wide = {name: _wider(name, tensor) for name, tensor in new.items()}
    model = import_detectron(wide, ImportOptions(classes=FPN.classes), detectron_configs.dumped(sections)).model
    assert (model.spec.backbone.norm, model.spec.backbone.fpn_norm) == ("group", "group")
    assert model.spec.mask_head is not None
    assert (model.spec.mask_head.norm, model.spec.box_head.norm, model.spec.box_head.num_convs) == ("group", "group", 4)
    assert torch.equal(model.state_dict()["box_head.norms.2.weight"], wide["head_conv3_gn_s"])
    assert torch.equal(model.state_dict()["backbone.body.layer1.0.downsample.1.bias"], wide["res2_0_branch1_gn_b"])


def _wider(name: str, tensor: Tensor) -> Tensor:
    """Twice the channels of pyramid, mask head and what reads them."""
    if name.startswith(("fpn_", "_[mask]", "conv_rpn", "conv5_mask")):
        tensor = torch.cat([tensor, tensor])
    reads = name.startswith(("fpn_res", "_[mask]", "conv_rpn", "rpn_", "conv5_mask", "mask_fcn_logits", "head_conv1_"))
    return torch.cat([tensor, tensor], dim=1) if reads and tensor.dim() == 4 else tensor


def test_one_box_and_one_mask_for_all_classes() -> None:
    own, blobs = files_of(KINDS["a pyramid"])
    blobs |= {f"bbox_pred_{part}": blobs[f"bbox_pred_{part}"][:8] for part in "wb"}
    blobs |= {f"mask_fcn_logits_{part}": blobs[f"mask_fcn_logits_{part}"][1:2] for part in "wb"}
    sections = detectron_configs.settings_of(FPN)
    sections["MODEL"]["CLS_AGNOSTIC_BBOX_REG"] = True
    sections["MRCNN"]["CLS_SPECIFIC_MASK"] = False
    model = import_detectron(blobs, ImportOptions(classes=FPN.classes), detectron_configs.dumped(sections)).model
    expected = own.state_dict()
    assert model.spec.mask_head is not None
    assert model.spec.mask_head.class_agnostic
    got = model.state_dict()
    assert torch.equal(got["box_head.box_deltas.weight"], expected["box_head.box_deltas.weight"][:4].repeat(3, 1))
    assert torch.equal(got["mask_head.mask_logits.weight"], expected["mask_head.mask_logits.weight"][:1])


def test_a_cfg_without_delta_weights_means_ones() -> None:
    _, blobs = files_of(KINDS["a pyramid"])
    sections = detectron_configs.settings_of(FPN)
    del sections["MODEL"]["BBOX_REG_WEIGHTS"]
    options = ImportOptions(classes=FPN.classes, zoo=True)
    imported = import_detectron(blobs, options, detectron_configs.dumped(sections))
    assert imported.model.spec.box_head.delta_weights == (1, 1, 1, 1)
    assert any("means 1 1 1 1" in line for line in imported.report.found)


def test_the_user_s_config_counts_before_the_file_s(tmp_path: Path) -> None:
    """What it does not say is as Detectron's own defaults have it."""
    _, blobs = files_of(KINDS["a pyramid"])
    sections = detectron_configs.settings_of(FPN)
    sections["TEST"] = {"SCALE": 400, "MAX_SIZE": 600, "NMS": 0.4, "RPN_POST_NMS_TOP_N": 1000}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**sections, "PIXEL_MEANS": [[[1.0, 2.0, 3.0]]]}))
    options = ImportOptions(classes=FPN.classes, config=path)
    spec = import_detectron(blobs, options, detectron_configs.dumped(detectron_configs.settings_of(FPN))).model.spec
    assert (spec.preprocessing.shorter_side_px, spec.preprocessing.longer_side_px) == (400, 600)
    assert spec.preprocessing.mean == (3, 2, 1)
    assert (spec.box_head.nms_thresh, spec.proposals.pre_nms_per_level) == (0.4, 12000)


def test_with_detectron2_s_config_it_is_what_detectron2_makes_of_the_file(tmp_path: Path) -> None:
    own, blobs = files_of(KINDS["a pyramid"])
    config = yaml.safe_load((foreign.FOLDER / "detectron2/mask_fpn_bgr/config.yaml").read_text("utf-8"))
    config["MODEL"]["ROI_HEADS"]["NUM_CLASSES"] = 3
    config["MODEL"]["FPN"]["OUT_CHANNELS"] = config["MODEL"]["ROI_MASK_HEAD"]["CONV_DIM"] = 16
    config["MODEL"]["ROI_BOX_HEAD"]["FC_DIM"] = 32
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    detectron_files.save_detectron(tmp_path / "w.pkl", blobs, None)
    options = ImportOptions(classes=FPN.classes, config=tmp_path / "config.yaml")
    imported = import_file(tmp_path / "w.pkl", options)
    spec = imported.model.spec
    assert (spec.pixel_boxes, spec.roi_align.aligned, spec.preprocessing.size_rule) == (False, True, "detectron2")
    assert spec.preprocessing.mean == (123.675, 116.28, 103.53)
    norm = imported.model.state_dict()["backbone.body.bn1.weight"]
    assert torch.equal(norm, blobs["res_conv1_bn_s"])  # which its norms then divide by the root of 1 + 1e-5
    logits = "box_head.class_logits.weight"
    assert torch.equal(imported.model.state_dict()[logits], own.state_dict()[logits])


@pytest.mark.parametrize(
    ("section", "name", "value", "text"),
    [
        ("MODEL", "NUM_CLASSES", 81, "MODEL.NUM_CLASSES is 81, the weights have 4; they belong to two networks"),
        ("MODEL", "MASK_ON", False, "MODEL.MASK_ON is False, the weights have True"),
        ("FPN", "FPN_ON", False, "FPN.FPN_ON is False, the weights have True"),
        ("FPN", "RPN_ASPECT_RATIOS", [1.0], "got 1 anchors a cell, the weights have 3"),
        ("TEST", "SOFT_NMS", {"ENABLED": True}, "TEST.SOFT_NMS.ENABLED is True, supported: False"),
        ("TEST", "BBOX_VOTE", {"ENABLED": True}, "TEST.BBOX_VOTE.ENABLED is True, supported: False"),
        ("TEST", "NMS", "low", "TEST.NMS is 'low', expected something like 0.3"),
        ("MRCNN", "DILATION", 2, "MRCNN.DILATION is 2, supported: 1"),
        ("FAST_RCNN", "ROI_XFORM_METHOD", "RoIWarp", "ROI_XFORM_METHOD is 'RoIWarp', supported: RoIAlign, RoIPoolF"),
        ("FAST_RCNN", "ROI_XFORM_METHOD", "RoIPoolF", "expected the same for all heads"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(section: str, name: str, value: Any, text: str, tmp_path: Path) -> None:
    _, blobs = files_of(KINDS["a pyramid"])
    sections = detectron_configs.settings_of(FPN)
    sections[section][name] = value
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(sections))
    with pytest.raises(ValueError, match=text):
        import_detectron(blobs, ImportOptions(classes=FPN.classes, config=tmp_path / "mine.yaml"))


def test_what_is_not_known_is_asked_for() -> None:
    _, blobs = files_of(KINDS["a pyramid"])
    named = ImportOptions(classes=FPN.classes)
    with pytest.raises(ValueError, match=r"holds no cfg.*: give the YAML that Detectron was run with.*--zoo-settings"):
        import_detectron(blobs, named)
    sections = detectron_configs.settings_of(FPN)
    del sections["TEST"]["NMS"], sections["RESNETS"]["STRIDE_1X1"]
    with pytest.raises(ValueError, match=r"cfg says nothing of RESNETS.STRIDE_1X1, TEST.NMS; give the YAML"):
        import_detectron(blobs, named, detectron_configs.dumped(sections))
    with pytest.raises(ValueError, match="give the 3 names by --classes"):
        import_detectron(blobs, ImportOptions(), detectron_configs.dumped(detectron_configs.settings_of(FPN)))
    with pytest.raises(ValueError, match="blob 'attention_w': of no part of a Mask R-CNN of Detectron"):
        import_detectron(
            {**blobs, "attention_w": torch.ones(3)}, named, detectron_configs.dumped(detectron_configs.settings_of(FPN))
        )


def test_an_imagenet_file_is_told_by_name(tmp_path: Path) -> None:
    _, blobs = files_of(KINDS["a pyramid"])
    body = {name: tensor for name, tensor in blobs.items() if name.startswith("res") or name == "conv1_w"}
    path = detectron_files.save_detectron(tmp_path / "R-50.pkl", {**body, "fc1000_w": torch.ones(9, 9)}, None)
    with pytest.raises(ValueError, match=r"got blobs of Detectron without a region proposal network.*ImageNet classif"):
        import_file(path, ImportOptions(zoo=True))


def test_anchors_are_the_published_ones() -> None:
    """Of C4: a base of 16 px, scales 8, 16 and 32, as `generate_anchors` prints them; of P2 its first level's."""
    assert generated(16, (128, 256, 512), (0.5, 1, 2)) == (
        (-84, -40, 99, 55),
        (-176, -88, 191, 103),
        (-360, -184, 375, 199),
        (-56, -56, 71, 71),
        (-120, -120, 135, 135),
        (-248, -248, 263, 263),
        (-36, -80, 51, 95),
        (-80, -168, 95, 183),
        (-168, -344, 183, 359),
    )
    assert generated(4, (32,), (0.5, 1, 2)) == ((-22, -10, 25, 13), (-14, -14, 17, 17), (-10, -22, 13, 25))
    assert by_size(3, 3) == [0, 3, 6, 1, 4, 7, 2, 5, 8]


def test_every_list_of_names_is_looked_at() -> None:
    assert [path.stem for path in (foreign.FOLDER / "keys" / "detectron").glob("*.json")] == ["e2e_mask_rcnn_R-50-FPN"]


def test_channels_of_c4_follow_their_anchors() -> None:
    """The file's channel of an anchor is that of the same anchor here."""
    own, blobs = files_of(KINDS["C4"])
    theirs = generated(16, detectron_specs.SIZES, detectron_specs.RATIOS)
    assert C4.anchors.cells_px is not None
    for index, cell in enumerate(C4.anchors.cells_px[0]):
        there = theirs.index(cell)
        logit = own.state_dict()["rpn_head.logits.weight"][index]
        assert torch.equal(blobs["rpn_cls_logits_w"][there], logit)
