"""Training in stages: what trains in each, and that the final model shares one frozen trunk."""

import dataclasses
from pathlib import Path

import pytest
import torch
from maskline_train.checkpoint import load_model, read_weights
from maskline_train.cli import main
from maskline_train.data.coco import CocoDataset
from maskline_train.data.loader import train_loader
from maskline_train.distributed import Processes
from maskline_train.model.draws import image_keys
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.paper.four_step import FOLDERS, four_step
from maskline_train.training.stage import HEADS, RPN, TRUNK, Stage, detect_with
from support.data.shapes_data import write_shapes
from support.models.tiny import tiny_model
from support.models.tiny_recipe import build
from support.processes.in_process import call

RECIPE = str(Path(__file__).parents[3] / "support" / "models" / "tiny_recipe.py")
ALONE = Processes(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_shapes(tmp_path_factory.mktemp("data") / "shapes", {"train": 4, "val": 2})


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A finished four-step training of three steps a stage; its batch norms train, so their statistics could change."""
    out = tmp_path_factory.mktemp("run") / "out"
    train_set, val_set = CocoDataset(data, "train"), CocoDataset(data, "val")
    recipe = build(train_set.classes)
    recipe = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, steps=3, ema_decay=None))
    metrics = four_step(recipe, train_set, val_set, out, ALONE)
    assert metrics is not None
    return out


def weights_of(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The tensors of a checkpoint by part."""
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in read_weights(folder / "last" / "model.safetensors").items():
        parts.setdefault(name.split(".")[0], {})[name] = tensor
    return parts


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_final_rpn_and_heads_read_the_same_frozen_trunk(run):
    first, second, third, fourth = (weights_of(run / folder) for folder in FOLDERS)
    assert any("running_mean" in name for name in fourth[TRUNK])
    assert same(second[TRUNK], third[TRUNK])  # the RPN was trained on this trunk
    assert same(third[TRUNK], fourth[TRUNK])  # and the heads
    assert not same(first[TRUNK], second[TRUNK])
    assert same(third[RPN], fourth[RPN])  # the last stage left it alone
    assert not same(second[RPN], third[RPN])
    assert same(first[RPN], second[RPN])  # where the third stage begins
    for head in HEADS:
        if head in fourth:
            assert same(second[head], third[head])
            assert not same(third[head], fourth[head])


def test_the_result_is_an_ordinary_checkpoint(run, data):
    assert (run / "last").resolve() == (run / FOLDERS[3] / "last").resolve()
    model = load_model(run / "best")
    found = model.detect(torch.zeros(1, 96, 128, 3, dtype=torch.uint8), torch.tensor([[96.0, 128, 1, 1, 96, 128]]))
    assert found.boxes.shape == (1, 100, 4)
    assert call(main, "evaluate", str(run / "last"), "--data", str(data)) == 0


@pytest.mark.parametrize(
    ("stage", "trained", "losses"),
    [
        (Stage("rpn", trunk_trains=True), {TRUNK, RPN}, {"rpn_objectness", "rpn_box"}),
        (Stage("rpn", trunk_trains=False), {RPN}, {"rpn_objectness", "rpn_box"}),
        (Stage("heads", trunk_trains=True), {TRUNK, "box_head", "mask_head"}, {"classifier", "box", "mask"}),
        (Stage("heads", trunk_trains=False), {"box_head", "mask_head"}, {"classifier", "box", "mask"}),
    ],
)
def test_a_stage_gives_gradients_to_its_parts_alone(data, stage, trained, losses):
    recipe = build(("circle", "square", "star"))
    model = MaskRCNN(recipe.model, recipe.sampling).train()
    stage.freeze(model)
    batch = next(
        train_loader(
            CocoDataset(data, "train"),
            recipe.model.preprocessing,
            batch_size=2,
            seed=0,
            augmentation=recipe.augmentation,
        )
    )
    found = stage.network(model)(batch.canvas, batch.image_info, batch.truth, image_keys(0, 0, range(2)))
    assert set(found) == losses
    torch.stack(list(found.values())).sum().backward()
    with_gradient = {name.split(".")[0] for name, value in model.named_parameters() if value.grad is not None}
    assert with_gradient == trained
    assert with_gradient == {name.split(".")[0] for name, value in model.named_parameters() if value.requires_grad}


def test_end_to_end_losses_are_the_sum_of_both_parts(data):
    """With the same keys the RPN's losses are those of joint training."""
    recipe = build(("circle", "square", "star"))
    model = MaskRCNN(recipe.model, recipe.sampling)
    batch = next(
        train_loader(
            CocoDataset(data, "train"),
            recipe.model.preprocessing,
            batch_size=2,
            seed=0,
            augmentation=recipe.augmentation,
        )
    )
    args = (batch.canvas, batch.image_info, batch.truth)
    model.eval()
    joint = model(*args, image_keys(0, 0, range(2)))
    alone = Stage("rpn", trunk_trains=True).network(model).eval()(*args, image_keys(0, 0, range(2)))
    assert all(torch.equal(alone[name], joint[name]) for name in alone)


def test_heads_train_on_the_proposals_of_another_network():
    model, other = tiny_model(seed=0), tiny_model(seed=1)
    canvas = torch.randint(0, 256, (2, 96, 128, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    info = torch.tensor([[96.0, 128, 1, 1, 96, 128]] * 2)
    own = model.detect(canvas, info)
    assert all(torch.equal(a, b) for a, b in zip(detect_with(model, model)(canvas, info)[:5], own[:5], strict=True))
    assert not torch.equal(detect_with(other, model)(canvas, info).boxes, own.boxes)


def test_the_command_trains_without_sharing_and_evaluate_takes_both_networks(data, tmp_path, capsys):
    out = tmp_path / "out"
    words = ("four-step", RECIPE, "--data", str(data), "--out", str(out), "--steps", "2", "--unshared")
    assert call(main, *words) == 0
    assert sorted(path.name for path in out.iterdir()) == list(FOLDERS[:2])
    assert "proposals are those of another network" in (out / FOLDERS[1] / "train.log").read_text()
    capsys.readouterr()
    detector, rpn = str(out / FOLDERS[1] / "last"), str(out / FOLDERS[0] / "last")
    assert call(main, "evaluate", detector, "--data", str(data), "--rpn", rpn) == 0
    assert "AP50" in capsys.readouterr().out
    assert call(main, *words) == 1
    assert "holds a run already; add --resume" in capsys.readouterr().err
    assert call(main, *words, "--resume") == 0


def test_an_interrupted_training_goes_on_in_its_stage(data, tmp_path):
    """Stopped after the first stage, the rest gives the same weights as an uninterrupted run."""
    train_set, val_set = CocoDataset(data, "train"), CocoDataset(data, "val")
    recipe = build(train_set.classes)
    recipe = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, steps=2))
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    four_step(recipe, train_set, val_set, whole, ALONE)
    four_step(recipe, train_set, val_set, parts, ALONE, shared=False)
    four_step(recipe, train_set, val_set, parts, ALONE, resume=True)
    a, b = (read_weights(out / "last" / "model.safetensors") for out in (whole, parts))
    assert all(torch.equal(a[name], b[name]) for name in a)
