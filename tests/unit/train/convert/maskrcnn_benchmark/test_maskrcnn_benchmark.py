"""Networks of maskrcnn-benchmark come over whole: these files were made by turning backwards what an import turns."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from maskline_train.convert.check.run import answers_of
from maskline_train.convert.file import import_file
from maskline_train.convert.frameworks import recognise
from maskline_train.convert.maskrcnn_benchmark.convert import import_maskrcnn_benchmark
from maskline_train.convert.options import ImportOptions
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.spec import ModelSpec
from support.models import detectron_files, detectron_specs, foreign
from support.models.detectron_specs import C4, FPN, GROUP_NORMS, KEYPOINTS
from torch import Tensor

KINDS = {**detectron_specs.KINDS, "group norms": GROUP_NORMS}


def config_of(spec: ModelSpec) -> dict[str, Any]:
    """What the configs of these networks say, apart from what is a default of theirs."""
    pyramid = spec.backbone.features == "fpn"
    sampling = spec.roi_align.sampling_ratio
    model: dict[str, Any] = {
        "META_ARCHITECTURE": "GeneralizedRCNN",
        "BACKBONE": {"CONV_BODY": "R-50-FPN" if pyramid else "R-50-C4"},
        "RESNETS": {"STEM_OUT_CHANNELS": spec.backbone.base_channels, "WIDTH_PER_GROUP": spec.backbone.base_channels},
        "ROI_BOX_HEAD": {
            "NUM_CLASSES": spec.num_classes + 1,
            "POOLER_RESOLUTION": spec.box_head.pooled_side,
            "POOLER_SAMPLING_RATIO": sampling,
        },
        "MASK_ON": spec.mask_head is not None,
        "KEYPOINT_ON": spec.keypoint_head is not None,
    }
    model["RESNETS"]["STRIDE_IN_1X1"] = spec.backbone.stride_in_1x1
    if pyramid:
        model["RPN"] = {
            "ANCHOR_STRIDE": "(4, 8, 16, 32, 64)",  # as people write it, and yacs reads it
            "PRE_NMS_TOP_N_TEST": 1000,
            "FPN_POST_NMS_TOP_N_TEST": 1000,
        }
        model["ROI_BOX_HEAD"]["POOLER_SCALES"] = "(0.25, 0.125, 0.0625, 0.03125)"
        model["ROI_MASK_HEAD"] = {"POOLER_SAMPLING_RATIO": sampling}
        model["ROI_KEYPOINT_HEAD"] = {"POOLER_SAMPLING_RATIO": sampling}
    return {
        "INPUT": {"MIN_SIZE_TEST": 256, "MAX_SIZE_TEST": 427},
        "DATALOADER": {"SIZE_DIVISIBILITY": 32 if pyramid else 0},
        "MODEL": model,
    }


def options(folder: Path, spec: ModelSpec, **changes: Any) -> ImportOptions:
    """With a config in which some settings, `SECTION_NAME=value` under MODEL by full names, are others."""
    content = config_of(spec)
    for name, value in changes.items():
        *parents, last = name.split("__")
        part = content
        for parent in parents:
            part = part.setdefault(parent, {})
        part[last] = value
    (folder / "config.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return ImportOptions(config=folder / "config.yml", classes=spec.classes)


def theirs_of(spec: ModelSpec) -> tuple[MaskRCNN, dict[str, Tensor]]:
    model = detectron_files.random_network(spec, statistics=True)
    return model, detectron_files.state_dict_of_maskrcnn_benchmark(model.state_dict(), spec)


def assert_same(imported: MaskRCNN, own: MaskRCNN) -> None:
    expected = own.state_dict()
    assert imported.state_dict().keys() == expected.keys()
    for name, tensor in imported.state_dict().items():
        if (
            "fc_norms" not in expected
            and name.endswith(("fc1.bias", "fc2.bias"))
            and own.spec.box_head.fc_norm != "none"
        ):
            assert not tensor.any(), name  # before a norm there is no bias there
            continue
        # A root and a product in float32, and back: three roundings of 6e-8.
        torch.testing.assert_close(tensor, expected[name], rtol=5e-7, atol=0, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_becomes_the_network_that_it_was_made_of(kind: str, tmp_path: Path) -> None:
    spec = KINDS[kind]
    own, theirs = theirs_of(spec)
    wrapped = {"model": {f"module.{name}": tensor for name, tensor in theirs.items()}, "iteration": 3}
    torch.save(wrapped, tmp_path / "model_final.pth")
    imported = import_file(tmp_path / "model_final.pth", options(tmp_path, spec))
    assert imported.model.spec == spec
    assert_same(imported.model, own)
    assert imported.report.found[0].startswith("maskrcnn-benchmark, ResNet-50 ")


FULL = {
    "e2e_mask_rcnn_R_50_FPN_1x": "ResNet-50 FPN, 80 classes, boxes, masks",
    "e2e_mask_rcnn_R_50_C4_1x": "ResNet-50 C4, 80 classes, boxes, masks",
    "e2e_mask_rcnn_R_50_FPN_1x_gn": "ResNet-50 FPN, 80 classes, boxes, masks",
    "e2e_keypoint_rcnn_R_50_FPN_1x": "ResNet-50 FPN, 1 classes, boxes, keypoints",
}


def full_size(network: str) -> dict[str, Tensor]:
    """Tensors of the real constructor's names and shapes, with variances, and without anchors, which have numbers."""
    weights = foreign.weights(f"maskrcnn-benchmark_{network}")
    return {
        name: torch.ones(()).expand(tensor.shape) if name.endswith("running_var") else tensor
        for name, tensor in weights.items()
        if "cell_anchors" not in name
    }


@pytest.mark.parametrize("network", FULL)
def test_a_full_size_network_is_recognised_and_loads_whole(network: str, tmp_path: Path) -> None:
    weights = full_size(network)
    assert recognise(weights) == "maskrcnn_benchmark"
    chosen = ImportOptions(zoo=True)
    if network.endswith("_gn"):
        (tmp_path / "config.yml").write_text(
            "{INPUT: {}, DATALOADER: {SIZE_DIVISIBILITY: 32}, DATASETS: {TRAIN: [coco_2014_train]}, MODEL: {RESNETS: "
            "{STRIDE_IN_1X1: false}, RPN: {ANCHOR_STRIDE: [4, 8, 16, 32, 64], PRE_NMS_TOP_N_TEST: 1000}, "
            "ROI_BOX_HEAD: {POOLER_RESOLUTION: 7, POOLER_SAMPLING_RATIO: 2}, "
            "ROI_MASK_HEAD: {POOLER_SAMPLING_RATIO: 2}}}"
        )
        chosen = ImportOptions(config=tmp_path / "config.yml")
    report = import_maskrcnn_benchmark(weights, chosen).report
    assert report.found[0] == f"maskrcnn-benchmark, {FULL[network]}; {len(weights)} tensors"


def test_every_list_of_names_is_looked_at() -> None:
    assert sorted(FULL) == sorted(path.stem for path in (foreign.FOLDER / "keys" / "maskrcnn-benchmark").glob("*.json"))


@pytest.mark.parametrize("network", FULL)
def test_files_of_these_tests_have_the_real_constructor_s_names_and_shapes(network: str) -> None:
    expected = foreign.shapes(f"maskrcnn-benchmark_{network}")
    kind = {"C4": C4, "gn": GROUP_NORMS, "keypoint": KEYPOINTS}
    small = next((spec for sign, spec in kind.items() if sign in network), FPN)
    spec = dataclasses.replace(
        small,
        classes=tuple(f"class {index}" for index in range(1 if small is KEYPOINTS else 80)),
        backbone=dataclasses.replace(small.backbone, base_channels=64, fpn_channels=256),
        box_head=dataclasses.replace(small.box_head, hidden=1024),
        mask_head=small.mask_head and dataclasses.replace(small.mask_head, channels=256),
        keypoint_head=small.keypoint_head and dataclasses.replace(small.keypoint_head, channels=512),
    )
    with torch.device("meta"):
        weights = dict(MaskRCNN(spec).state_dict())
    theirs = detectron_files.state_dict_of_maskrcnn_benchmark(weights, spec)
    assert {name: tuple(tensor.shape) for name, tensor in theirs.items()} == expected


def test_one_box_for_all_classes_is_that_of_every_class(tmp_path: Path) -> None:
    own, theirs = theirs_of(FPN)
    for part in ("weight", "bias"):
        name = f"roi_heads.box.predictor.bbox_pred.{part}"
        theirs[name] = theirs[name][:8]  # the background's, never read, and that of all others
    imported = import_maskrcnn_benchmark(theirs, options(tmp_path, FPN, MODEL__CLS_AGNOSTIC_BBOX_REG=True))
    deltas = own.state_dict()["box_head.box_deltas.weight"][:4]
    torch.testing.assert_close(imported.model.state_dict()["box_head.box_deltas.weight"], deltas.repeat(3, 1))


def test_convolutions_before_the_layers_of_the_box_head(tmp_path: Path) -> None:
    """`FPNXconv1fcFeatureExtractor`: its convolutions, norms and ReLUs share one count."""
    _, theirs = theirs_of(GROUP_NORMS)
    extractor = "roi_heads.box.feature_extractor."
    theirs = {name: tensor for name, tensor in theirs.items() if not name.startswith(f"{extractor}fc7.")}
    theirs[f"{extractor}fc6.bias"] = torch.randn(64)
    theirs[f"{extractor}fc6.weight"] = theirs.pop(f"{extractor}fc6.0.weight")
    del theirs[f"{extractor}fc6.1.weight"], theirs[f"{extractor}fc6.1.bias"]
    for index in range(4):
        theirs[f"{extractor}xconvs.{3 * index}.weight"] = torch.randn(32, 32, 3, 3)
        theirs |= {f"{extractor}xconvs.{3 * index + 1}.{part}": torch.randn(32) for part in ("weight", "bias")}
    imported = import_maskrcnn_benchmark(theirs, options(tmp_path, GROUP_NORMS)).model
    head = imported.spec.box_head
    assert (head.num_convs, head.conv_channels, head.norm, head.num_fcs, head.fc_norm) == (4, 32, "group", 1, "none")
    got = imported.state_dict()
    for index in range(4):
        assert torch.equal(got[f"box_head.convs.{index}.weight"], theirs[f"{extractor}xconvs.{3 * index}.weight"])
        assert torch.equal(got[f"box_head.norms.{index}.bias"], theirs[f"{extractor}xconvs.{3 * index + 1}.bias"])
    assert torch.equal(got["box_head.fc1.bias"], theirs[f"{extractor}fc6.bias"])


def test_pictures_of_zero_to_one_are_rgb(tmp_path: Path) -> None:
    _, theirs = theirs_of(FPN)
    changed = options(
        tmp_path, FPN, INPUT__TO_BGR255=False, INPUT__PIXEL_MEAN=[0.5, 0.4, 0.3], INPUT__PIXEL_STD=[0.2, 0.4, 0.8]
    )
    imported = import_maskrcnn_benchmark(theirs, changed).model
    assert imported.spec.preprocessing.mean == pytest.approx((127.5, 102, 76.5))
    assert imported.spec.preprocessing.std == pytest.approx((51, 102, 204))
    assert torch.equal(imported.state_dict()["backbone.body.conv1.weight"], theirs["backbone.body.stem.conv1.weight"])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"MODEL__ROI_BOX_HEAD__NUM_CLASSES": 81},
            "ROI_BOX_HEAD.NUM_CLASSES is 81, the weights have 4; they belong to",
        ),
        ({"MODEL__MASK_ON": False}, "MODEL.MASK_ON is False, the weights have True"),
        ({"MODEL__CLS_AGNOSTIC_BBOX_REG": True}, "CLS_AGNOSTIC_BBOX_REG is True, the weights have False"),
        ({"MODEL__BACKBONE__CONV_BODY": "R-101-FPN"}, "CONV_BODY is 'R-101-FPN', the weights have 50 layers and fpn"),
        ({"MODEL__RPN__RPN_HEAD": "MyHead"}, "RPN_HEAD is 'MyHead', supported: 'SingleConvRPNHead'"),
        ({"MODEL__FPN": {"USE_RELU": True}}, "FPN.USE_RELU is True, supported: False"),
        ({"TEST": {"BBOX_AUG": {"ENABLED": True}}}, "BBOX_AUG.ENABLED is True, supported: False"),
        ({"MODEL__RESNETS__STAGE_WITH_DCN": [False, True, True, True]}, "STAGE_WITH_DCN is .*, supported: "),
        ({"MODEL__RPN__ANCHOR_SIZES": [16, 32, 64, 128, 256]}, "make the anchors .* the file of weights has"),
        ({"MODEL__RPN__ANCHOR_SIZES": [32, 64]}, "expected strides .4, 8, 16, 32, 64. and as many sizes"),
        ({"MODEL__RPN__ASPECT_RATIOS": [0.5, 1.0]}, "make the anchors .* the file of weights has"),
        ({"MODEL__RPN__POST_NMS_TOP_N_TEST": 500}, "POST_NMS_TOP_N_TEST is 500, expected at least 1000"),
        ({"MODEL__ROI_MASK_HEAD__POOLER_SAMPLING_RATIO": 0}, "expected the same for all heads"),
        ({"MODEL__RPN__NMS_THRESH": "high"}, "MODEL.RPN.NMS_THRESH is 'high', expected something like 0.7"),
        ({"DATALOADER__SIZE_DIVISIBILITY": 0}, "canvas_multiple: got 1, expected a multiple of 32"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(changes: dict[str, Any], text: str, tmp_path: Path) -> None:
    _, theirs = theirs_of(FPN)
    with pytest.raises(ValueError, match=text):
        import_maskrcnn_benchmark(theirs, options(tmp_path, FPN, **changes))


def test_what_is_not_known_is_asked_for(tmp_path: Path) -> None:
    _, theirs = theirs_of(FPN)
    with pytest.raises(
        ValueError, match=r"do not say channel order, stride, .*: give the config.yml .* --zoo-settings"
    ):
        import_maskrcnn_benchmark(theirs, ImportOptions(classes=FPN.classes))
    nameless = dataclasses.replace(options(tmp_path, FPN), classes=None)
    with pytest.raises(ValueError, match=r"give the 3 names by --classes a,b,c .*labels 1, 2"):
        import_maskrcnn_benchmark(theirs, nameless)
    with pytest.raises(ValueError, match="--classes: got 2 names, the weights have 3 classes"):
        import_maskrcnn_benchmark(theirs, dataclasses.replace(nameless, classes=("a", "b")))
    with pytest.raises(ValueError, match="--norm-eps: maskrcnn-benchmark's batch norms add nothing"):
        import_maskrcnn_benchmark(theirs, dataclasses.replace(options(tmp_path, FPN), norm_eps=0.0))
    with pytest.raises(ValueError, match="STRIDE_IN_1X1: in the published configs another"):
        import_maskrcnn_benchmark(theirs_of(GROUP_NORMS)[1], ImportOptions(zoo=True))


def test_a_file_that_is_of_something_else_is_named(tmp_path: Path) -> None:
    _, theirs = theirs_of(C4)
    chosen = options(tmp_path, C4)
    mask = "roi_heads.mask.feature_extractor.head.layer4.0.conv1.weight"
    for changed, text in (
        ({mask: theirs[mask] + 1}, f"weight '{mask}': got another than that of the box head"),
        (
            {"roi_heads.box.feature_extractor.attention.weight": torch.ones(3)},
            "of no part of a Mask R-CNN of maskrcnn-b",
        ),
        ({"rpn.anchor_generator.cell_anchors.0": torch.ones(3)}, "cell_anchors.0': got .*, expected floats .A, 4."),
        ({"rpn.head.cls_logits.bias": torch.ones(4)}, "cls_logits|objectness_logits.bias': got shape .4., expected 15"),
        ({"backbone.body.layer1.0.bn1.running_var": torch.zeros(8)}, "running_var': got a variance of 0"),
    ):
        with pytest.raises(ValueError, match=text):
            import_maskrcnn_benchmark({**theirs, **changed}, chosen)


def test_where_nobody_can_answer_here_it_says_who_can(tmp_path: Path) -> None:
    network, tensors = theirs_of(FPN)
    imported = import_maskrcnn_benchmark(tensors, options(tmp_path, FPN))
    shutil.copy(foreign.FOLDER / "images" / "chelsea.png", tmp_path)
    with pytest.raises(ValueError, match=r"no golden.json, expected the framework's answers .*let a program that runs"):
        answers_of(imported, tmp_path)
    assert network.spec == imported.model.spec
