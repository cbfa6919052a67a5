"""Starting from a model of other classes: each class keeps what its name has learned."""

import dataclasses

import pytest
import torch
from maskline_train.checkpoint import read_weights, save_model
from maskline_train.data.cityscapes import CLASSES
from maskline_train.data.coco import CocoDataset
from maskline_train.distributed import Processes
from maskline_train.fit import fit
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.spec import MaskHeadSpec
from maskline_train.starting_weights import load_weights_by_class
from support.data.shapes_data import write_shapes
from support.models.tiny import tiny_spec
from support.models.tiny_recipe import build

# A few of COCO's, in COCO's order: another order than Cityscapes'.
COCO = ("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat")


def model_of(classes, seed, **mask_head):
    torch.manual_seed(seed)
    spec = dataclasses.replace(tiny_spec(), classes=classes)
    return MaskRCNN(dataclasses.replace(spec, mask_head=MaskHeadSpec(num_convs=1, channels=8, hidden=16, **mask_head)))


@pytest.mark.parametrize(
    "mask_head",
    [{}, {"activation": "softmax"}, {"kind": "mlp", "pooled_side": 2}, {"class_agnostic": True}],
    ids=["fcn", "softmax", "mlp", "agnostic"],
)
def test_seven_classes_come_from_coco_and_rider_stays_random(mask_head):
    source, model = model_of(COCO, 0, **mask_head), model_of(CLASSES, 1, **mask_head)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    report = load_weights_by_class(model, source.state_dict(), COCO)
    assert not report.missing
    assert not report.reshaped
    assert set(report.loaded) == set(before)

    def rows(tensor, count, index):
        return tensor[index * count : (index + 1) * count]

    side = model.spec.mask_head.mask_side**2 if mask_head.get("kind") == "mlp" else 1
    layers = [("box_head.class_logits.weight", 1), ("box_head.box_deltas.weight", 4), ("box_head.box_deltas.bias", 4)]
    if not mask_head.get("class_agnostic"):
        layers.append(("mask_head.mask_logits.weight", side))
    after, theirs = model.state_dict(), source.state_dict()
    for name, count in layers:
        for index, label in enumerate(CLASSES):
            found = rows(after[name], count, index)
            expected = (
                rows(before[name], count, index) if label == "rider" else rows(theirs[name], count, COCO.index(label))
            )
            assert torch.equal(found, expected), (name, label)
    background = after["box_head.class_logits.weight"][len(CLASSES)]
    assert torch.equal(background, theirs["box_head.class_logits.weight"][len(COCO)])
    assert torch.equal(after["box_head.fc1.weight"], theirs["box_head.fc1.weight"])
    if mask_head.get("class_agnostic"):
        assert torch.equal(after["mask_head.mask_logits.weight"], theirs["mask_head.mask_logits.weight"])


def test_a_head_of_another_kind_stays_random():
    source, model = model_of(COCO, 0, activation="softmax"), model_of(CLASSES, 1)
    report = load_weights_by_class(model, source.state_dict(), COCO)
    assert report.reshaped == ["mask_head.mask_logits.weight", "mask_head.mask_logits.bias"]


def test_fit_starts_by_class_from_a_checkpoint_of_other_classes(tmp_path):
    """Two classes change places; a learning rate of zero leaves the weights as they were loaded."""
    data = write_shapes(tmp_path / "data", {"train": 2, "val": 2})
    dataset = CocoDataset(data, "train")
    source = model_of(("square", "circle", "hat"), 0)
    save_model(tmp_path / "source", source)
    recipe = build(dataset.classes)
    training = dataclasses.replace(recipe.training, steps=1, base_lr=0.0, ema_decay=None)
    recipe = dataclasses.replace(recipe, training=training)
    processes = Processes(0, 1, torch.device("cpu"))
    fit(recipe, dataset, CocoDataset(data, "val"), tmp_path / "run", processes, init=tmp_path / "source")
    found = read_weights(tmp_path / "run" / "last" / "model.safetensors")["box_head.class_logits.weight"]
    theirs = source.state_dict()["box_head.class_logits.weight"]
    assert dataset.classes == ("circle", "square", "star")
    assert torch.equal(found[[0, 1, 3]], theirs[[1, 0, 3]])
    assert "2 of 3 classes by name" in (tmp_path / "run" / "train.log").read_text()
