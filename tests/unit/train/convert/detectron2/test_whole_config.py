"""Every setting of a dumped config is read, compared, of one value here, or of no meaning at inference."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
import yaml
from maskline_train.convert.detectron2.agreement import check_support, not_read
from maskline_train.convert.detectron2.architecture import read_architecture
from maskline_train.convert.detectron2.config import read_config
from maskline_train.convert.detectron2.constants import settings_of
from maskline_train.convert.detectron2.convert import import_detectron2
from maskline_train.convert.options import ImportOptions
from maskline_train.convert.reading.foreign_file import read_foreign
from support.models import foreign
from torch import Tensor

NETWORKS = ("detectron2/mask_fpn_bgr", "detectron2/keypoint_fpn", "detectron2/mask_c4")
CELLS = "proposal_generator.anchor_generator.cell_anchors"


def tensors_of(network: str) -> dict[str, Tensor]:
    return read_foreign(foreign.checkpoint(network)).tensors


@pytest.mark.parametrize("network", NETWORKS)
def test_no_setting_of_a_dumped_config_is_unknown(network: str) -> None:
    config = foreign.options(network).config
    assert config is not None
    settings = read_config(config)
    assert len(settings) > 150
    assert not not_read(read_architecture(tensors_of(network)), settings)


def test_a_project_s_own_setting_is_reported(tmp_path: Path) -> None:
    options = foreign.options(NETWORKS[0])
    assert options.config is not None
    content = yaml.safe_load(options.config.read_text(encoding="utf-8"))
    content["MODEL"]["POINT_HEAD"] = {"NUM_FC": 3}
    content["MODEL"]["RPN"]["SHARPER"] = True
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    changed = dataclasses.replace(options, config=tmp_path / "config.yaml")
    said = import_detectron2(tensors_of(NETWORKS[0]), changed).report.left_out
    assert said == ["settings of the config that detectron2 does not have: MODEL.POINT_HEAD.NUM_FC, MODEL.RPN.SHARPER"]


@pytest.mark.parametrize("norm", ["naiveSyncBN", "SyncBN", "nnSyncBN", "BN"])
def test_synchronised_norms_of_every_name_are_batch_norms(norm: str, tmp_path: Path) -> None:
    options = foreign.options(NETWORKS[0])
    assert options.config is not None
    path = tmp_path / "config.yaml"
    path.write_text(options.config.read_text("utf-8").replace("NORM: FrozenBN", f"NORM: {norm}"), encoding="utf-8")
    model = import_detectron2(tensors_of(NETWORKS[0]), dataclasses.replace(options, config=path)).model
    assert model.spec.backbone.norm == ("batch" if norm == "BN" else "sync_batch")


@pytest.mark.parametrize("said", [[-1, -1], [32, 32], [-1, 32]])
def test_two_convolutions_of_the_rpn_are_said_by_numbers_or_as_what_they_read(said: list[int], tmp_path: Path) -> None:
    """Ref: `StandardRPNHead`, detectron2/modeling/proposal_generator/rpn.py: -1 is the channels of its input."""
    tensors, options, conv = tensors_of(NETWORKS[0]), foreign.options(NETWORKS[0]), "proposal_generator.rpn_head.conv."
    for part in ("weight", "bias"):
        first = tensors.pop(conv + part)
        tensors |= {f"{conv}conv0.{part}": first, f"{conv}conv1.{part}": first}
    assert options.config is not None
    content = yaml.safe_load(options.config.read_text(encoding="utf-8"))
    content["MODEL"]["RPN"]["CONV_DIMS"] = said
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    changed = dataclasses.replace(options, config=tmp_path / "config.yaml")
    assert import_detectron2(tensors, changed).model.spec.rpn_head.num_convs == 2


def with_constants(sizes: tuple[float, ...] = (32, 64, 128, 256, 512), mean: float = 103.53) -> dict[str, Tensor]:
    """The weights as releases before 0.4 wrote them: pixel means, and the anchors of each level."""
    tensors = tensors_of(NETWORKS[0])
    tensors |= {"pixel_mean": torch.tensor([mean, 116.28, 123.675])[:, None, None], "pixel_std": torch.ones(3, 1, 1)}
    for level, size in enumerate(sizes):
        width = size / torch.tensor([0.5, 1.0, 2.0]).sqrt()
        half = torch.stack([width, size * size / width], dim=1) / 2
        tensors[f"{CELLS}.{level}"] = torch.cat([-half, half], dim=1)
    return tensors


def test_constants_of_the_file_are_compared_with_the_config() -> None:
    options = foreign.options(NETWORKS[0])
    said = import_detectron2(with_constants(), options).report
    assert "7 constants (pixel mean and std, anchors) of the file are those that are used" in said.found
    for tensors, text in (
        (with_constants(mean=100.0), r"MODEL.PIXEL_MEAN is \[103.53, .*\], the file of weights has \[100.0, 116.28, "),
        (with_constants(sizes=(16, 32, 64, 128, 256)), r"SIZES is .*, the file of weights has \[\[16.0\], \[32.0\]"),
        (with_constants(sizes=(32, 64)), r"SIZES is .*, the file of weights has \[\[32.0\], \[64.0\]\]"),
    ):
        with pytest.raises(ValueError, match=f"^config: [^\n]*{text}"):
            import_detectron2(tensors, options)


def test_constants_of_the_file_count_where_there_is_no_config() -> None:
    options = ImportOptions(classes=foreign.classes(NETWORKS[0]), zoo=True)
    imported = import_detectron2(with_constants(sizes=(16, 32, 64, 128, 256), mean=100.0), options)
    spec = imported.model.spec
    assert spec.anchors.sizes_px == (16, 32, 64, 128, 256)
    assert spec.anchors.aspect_ratios == (0.5, 1, 2)
    assert spec.preprocessing.mean == (123.675, 116.28, 100.0)
    assert not any("PIXEL_MEAN" in line or "SIZES" in line for line in imported.report.assumed)


@pytest.mark.parametrize(
    ("name", "tensor", "text"),
    [
        ("pixel_mean", torch.ones(4), "weight 'pixel_mean': got shape .4., expected 3 numbers"),
        (f"{CELLS}.0", torch.ones(3), "expected anchors .A, 4."),
        (f"{CELLS}.0", torch.tensor([[-1.0, -1, 1, 1], [-1, -2, 1, 2], [-4, -4, 4, 4]]), "of no sizes times ratios"),
        (f"{CELLS}.0", torch.zeros(3, 4), "of no sizes times ratios"),
    ],
)
def test_constants_that_are_none_are_named(name: str, tensor: Tensor, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        settings_of({name: tensor})


def test_each_body_has_its_own_settings() -> None:
    found = read_architecture(tensors_of("detectron2/mask_c4"))
    for name, value in (
        ("MODEL.ROI_HEADS.NAME", "StandardROIHeads"),
        ("MODEL.RPN.IN_FEATURES", ["res5"]),
        ("MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone"),
    ):
        with pytest.raises(ValueError, match=f"^config: {name} is .*, supported: "):
            check_support(found, {name: value})
