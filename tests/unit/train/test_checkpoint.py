"""The checkpoint folder: round trips, damage, and starting from other weights."""

import dataclasses

import pytest
import torch
import torchvision
from maskline_train.checkpoint import SPEC_FILE, WEIGHTS_FILE, load_model, read_weights, save_model
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.spec import BackboneSpec, BoxHeadSpec, MaskHeadSpec, ModelSpec
from maskline_train.starting_weights import load_body_weights, load_matching_weights
from safetensors.torch import load_file, save_file

SMALL = ModelSpec(
    classes=("cat", "dog"),
    backbone=BackboneSpec(depth=18, base_channels=4, norm="batch", frozen_stages=0, fpn_channels=8),
    box_head=BoxHeadSpec(hidden=8),
    mask_head=MaskHeadSpec(channels=8, num_convs=1),
)


def test_saved_model_loads_with_the_same_spec_and_weights(tmp_path):
    model = MaskRCNN(SMALL)
    save_model(tmp_path / "new" / "last", model)
    loaded = load_model(tmp_path / "new" / "last")
    assert loaded.spec == SMALL
    assert not loaded.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_float16_halves_the_file_and_rounds_matrices_only(tmp_path):
    model = MaskRCNN(SMALL)
    tiny = 1e-9  # below float16's smallest positive number
    model.backbone.body.bn1.running_var.fill_(tiny)
    save_model(tmp_path / "full", model)
    save_model(tmp_path / "half", model, dtype="float16")
    sizes = {name: (tmp_path / name / WEIGHTS_FILE).stat().st_size for name in ("full", "half")}
    assert sizes["half"] < 0.65 * sizes["full"]
    loaded = load_model(tmp_path / "half").state_dict()
    assert loaded["backbone.body.bn1.running_var"][0] == pytest.approx(tiny)
    for name, tensor in model.state_dict().items():
        assert loaded[name].dtype == tensor.dtype
        # float16 keeps 11 bits of a number above 6e-5
        assert torch.allclose(loaded[name], tensor, rtol=2**-11, atol=6e-8), name


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_diverged_model_is_not_written(tmp_path, value):
    model = MaskRCNN(SMALL)
    save_model(tmp_path, model)
    before = (tmp_path / WEIGHTS_FILE).read_bytes()
    model.rpn_head.conv.bias.data[0] = value
    with pytest.raises(ValueError, match=r"weight rpn_head.conv.bias: not finite"):
        save_model(tmp_path, model)
    assert (tmp_path / WEIGHTS_FILE).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [SPEC_FILE, WEIGHTS_FILE]


def test_a_weight_too_large_for_float16_is_named(tmp_path):
    model = MaskRCNN(SMALL)
    model.rpn_head.conv.weight.data[0, 0, 0, 0] = 1e6
    with pytest.raises(ValueError, match=r"rpn_head.conv.weight: got values up to 1e\+06, too large for float16"):
        save_model(tmp_path, model, dtype="float16")


@pytest.mark.parametrize("name", [SPEC_FILE, WEIGHTS_FILE])
def test_a_missing_file_is_named(tmp_path, name):
    save_model(tmp_path, MaskRCNN(SMALL))
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"no {name}"):
        load_model(tmp_path)


@pytest.mark.parametrize("keep", [0, 5, 1000, -1])
def test_a_truncated_file_is_refused(tmp_path, keep):
    save_model(tmp_path, MaskRCNN(SMALL))
    path = tmp_path / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"cannot be read \(.*damaged"):
        load_model(tmp_path)


def test_wrong_keys_and_shapes_are_named(tmp_path):
    save_model(tmp_path, MaskRCNN(SMALL))
    weights = load_file(tmp_path / WEIGHTS_FILE)
    without = {name: tensor for name, tensor in weights.items() if name != "rpn_head.conv.bias"}
    save_file(without, tmp_path / WEIGHTS_FILE)
    with pytest.raises(ValueError, match=r"1 weights are missing, first 'rpn_head.conv.bias'"):
        load_model(tmp_path)
    save_file({**weights, "head.bias": torch.zeros(1)}, tmp_path / WEIGHTS_FILE)
    with pytest.raises(ValueError, match=r"1 weights are unknown, first 'head.bias'"):
        load_model(tmp_path)
    save_file(weights, tmp_path / WEIGHTS_FILE)
    dataclasses.replace(SMALL, classes=("cat", "dog", "bird")).save(tmp_path / SPEC_FILE)
    with pytest.raises(ValueError, match=r"'box_head.class_logits.weight': got shape \[3, 8\], expected \[4, 8\]"):
        load_model(tmp_path)


def test_fine_tuning_with_other_classes_keeps_all_but_the_last_layers(tmp_path):
    source = MaskRCNN(SMALL)
    save_model(tmp_path, source)
    model = MaskRCNN(dataclasses.replace(SMALL, classes=("cat", "dog", "bird")))
    report = load_matching_weights(model, read_weights(tmp_path / WEIGHTS_FILE))
    assert report.reshaped == [
        "box_head.class_logits.weight",
        "box_head.class_logits.bias",
        "box_head.box_deltas.weight",
        "box_head.box_deltas.bias",
        "mask_head.mask_logits.weight",
        "mask_head.mask_logits.bias",
    ]
    assert not report.missing
    assert not report.unused
    assert set(report.loaded) == set(model.state_dict()) - set(report.reshaped)
    for name in report.loaded:
        assert torch.equal(model.state_dict()[name], source.state_dict()[name]), name


def test_weights_of_something_else_are_refused(tmp_path):
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"none of 1 tensors fits the model by name and shape \(first: 'fc.weight'\)"):
        load_matching_weights(MaskRCNN(SMALL), read_weights(tmp_path / "other.pth"))


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("norm", ["frozen_batch", "batch"])
def test_body_weights_of_a_torchvision_classifier_load(tmp_path, suffix, norm):
    classifier = torchvision.models.resnet18(weights=None)
    path = tmp_path / f"resnet18.{suffix}"
    torch.save(classifier.state_dict(), path) if suffix == "pth" else save_file(classifier.state_dict(), path)
    spec = dataclasses.replace(SMALL, backbone=dataclasses.replace(SMALL.backbone, base_channels=64, norm=norm))
    model = MaskRCNN(spec)
    load_body_weights(model, path)
    for name, tensor in model.backbone.body.state_dict().items():
        assert torch.equal(tensor, classifier.state_dict()[name]), name


def backbone(**changes):
    return dataclasses.replace(SMALL, backbone=BackboneSpec(depth=50, base_channels=64, fpn_channels=8, **changes))


@pytest.fixture(scope="module")
def five_thousand_classes(tmp_path_factory):
    """A ResNet-50 for ImageNet-5k: the same body, another classifier. Ref: ledger P39."""
    classifier = torchvision.models.resnet50(weights=None, num_classes=5000)
    path = tmp_path_factory.mktemp("imagenet") / "resnet50-5k.pth"
    torch.save(classifier.state_dict(), path)
    return classifier.state_dict(), path


def test_a_classifier_of_any_number_of_classes_gives_its_body(five_thousand_classes):
    state, path = five_thousand_classes
    assert state["fc.weight"].shape == (5000, 2048)
    model = MaskRCNN(backbone())
    load_body_weights(model, path)
    for name, tensor in model.backbone.body.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_the_stage_of_the_c4_heads_starts_from_the_classifier_too(five_thousand_classes):
    state, path = five_thousand_classes
    model = MaskRCNN(backbone(features="c4"))
    load_body_weights(model, path)
    assert set(model.backbone.body.state_dict()) | set(model.res5.state_dict()) == {
        name for name in state if not name.startswith("fc.") and not name.endswith("num_batches_tracked")
    }
    for part in (model.backbone.body, model.res5):
        for name, tensor in part.state_dict().items():
            assert torch.equal(tensor, state[name]), name


def test_a_non_local_block_stays_an_identity(five_thousand_classes):
    state, path = five_thousand_classes
    model = MaskRCNN(backbone(non_local=True))
    load_body_weights(model, path)
    assert torch.equal(model.backbone.body.layer3[5].conv1.weight, state["layer3.5.conv1.weight"])
    assert model.backbone.body.non_local.out.weight.eq(0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm": "group"}, r"unknown, first 'bn1.running_mean'; expected .* ResNet-50 \(group norm\) body"),
        ({"groups": 32, "width_per_group": 4}, r"'layer1.0.conv1.weight': got shape .* ResNeXt-50 32x4d body"),
    ],
)
def test_body_weights_of_another_kind_are_refused(five_thousand_classes, changes, message):
    with pytest.raises(ValueError, match=message):
        load_body_weights(MaskRCNN(backbone(**changes)), five_thousand_classes[1])


def test_body_weights_of_a_resnext_load(tmp_path):
    classifier = torchvision.models.resnext50_32x4d(weights=None)
    torch.save(classifier.state_dict(), tmp_path / "resnext.pth")
    model = MaskRCNN(backbone(groups=32, width_per_group=4))
    load_body_weights(model, tmp_path / "resnext.pth")
    for name, tensor in model.backbone.body.state_dict().items():
        assert torch.equal(tensor, classifier.state_dict()[name]), name


def test_body_weights_of_another_depth_are_refused(tmp_path):
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "resnet18.pth")
    model = MaskRCNN(dataclasses.replace(SMALL, backbone=BackboneSpec(depth=50, fpn_channels=8)))
    with pytest.raises(ValueError, match=r"missing, first 'layer1.0.conv3.weight'; expected .* ResNet-50 body"):
        load_body_weights(model, tmp_path / "resnet18.pth")


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    torch.save({"weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="cannot be read"):
        read_weights(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


def test_no_such_file_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_weights(tmp_path / "none.pth")
