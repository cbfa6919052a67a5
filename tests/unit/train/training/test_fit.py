"""The training loop: that it learns, where it starts from, what it writes, how it fails."""

import dataclasses
import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from margins import SEED, Margins
from maskline_train.checkpoint import load_model, save_model
from maskline_train.data.coco import CocoDataset
from maskline_train.distributed import Processes
from maskline_train.evaluation.sheet import CAPTION_PX, GAP_PX
from maskline_train.fit import fit
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.recipe import AdamW, Recipe
from maskline_train.training.interruption import NonFiniteLossError
from maskline_train.training.metrics_log import MetricsLog, read_metrics
from maskline_train.training.schedule import Cosine
from maskline_train.training.state import Averages
from PIL import Image
from support.data.shapes_data import write_shapes
from support.models import tiny_recipe
from support.models.tiny import tiny_model
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ALONE = Processes(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[CocoDataset, CocoDataset]:
    root = write_shapes(tmp_path_factory.mktemp("data") / "shapes", {"train": 10, "val": 4})
    return CocoDataset(root, "train"), CocoDataset(root, "val")


def recipe(data: tuple[CocoDataset, CocoDataset], **training: object) -> Recipe:
    tiny = tiny_recipe.build(data[0].classes)
    return dataclasses.replace(tiny, training=dataclasses.replace(tiny.training, **training))


def entries(out: Path, kind: str) -> list[dict]:
    return [entry for entry in read_metrics(out / "metrics.jsonl") if entry["kind"] == kind]


@pytest.fixture(scope="module")
def finished(data: tuple[CocoDataset, CocoDataset], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 30 steps with two evaluations."""
    out = tmp_path_factory.mktemp("fit") / "run"
    decay = Cosine(final_factor=0.05)
    chosen = recipe(
        data, steps=30, evaluate_every=15, log_every=5, seed=SEED, base_lr=8e-3, optimizer=AdamW(), decay=decay
    )
    fit(chosen, *data, out, ALONE)
    return out


def test_images_without_objects_are_trained_on_where_the_recipe_says_so(
    data: tuple[CocoDataset, CocoDataset], tmp_path: Path
) -> None:
    root = tmp_path / "empty"
    shutil.copytree(data[0].root, root)
    file = root / "annotations" / "instances_train.json"
    content = json.loads(file.read_text())
    content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] > 9]  # one image of ten
    file.write_text(json.dumps(content))
    mostly_empty = CocoDataset(root, "train"), data[1]
    for name, shown in (("all", True), ("one", False)):
        chosen = recipe(mostly_empty, steps=2, total_batch=2, keep_empty=shown, log_every=1)
        fit(chosen, *mostly_empty, tmp_path / name, ALONE)
    of_all, of_one = (entries(tmp_path / name, "train") for name in ("all", "one"))
    assert all(math.isfinite(entry["loss"]) for entry in of_all)
    assert any(entry["mask"] == 0 for entry in of_all)  # a batch without a single object
    assert all(entry["mask"] > 0 for entry in of_one)


@pytest.mark.learns
def test_losses_fall(finished: Path, margins: Margins) -> None:
    """The RPN's, which begins at that of a coin and has samples in every image; those of the few regions jump about."""
    last = entries(finished, "train")[-1]["rpn_objectness"]
    margins.below("objectness loss of the last five steps, in coins", last / math.log(2), 0.33, wrong=1.0)


def test_the_folder_of_a_run_holds_what_the_page_says(finished: Path) -> None:
    for link in ("last", "best"):
        assert {path.name for path in (finished / link).iterdir()} == {
            "model.safetensors",
            "model.json",
            "training_state.pt",
            "evaluation.json",
        }
        torch.load(finished / link / "training_state.pt", weights_only=True)
    assert json.loads((finished / "recipe.json").read_text())["training"]["steps"] == 30
    assert "step 30/30, 0:00 left, " in (finished / "train.log").read_text()
    train, evaluation = entries(finished, "train"), entries(finished, "evaluation")
    assert [entry["step"] for entry in train] == [5, 10, 15, 20, 25, 30]
    assert [entry["step"] for entry in evaluation] == [15, 30]
    assert {"box_AP", "box_AP50", "mask_AP", "mask_AP50", "mask_AP75"} <= evaluation[0].keys()
    assert all(entry["images_per_s"] > 0 for entry in train)
    board = EventAccumulator(str(finished / "tensorboard")).Reload()
    assert [event.step for event in board.Scalars("train/loss")] == [5, 10, 15, 20, 25, 30]
    assert board.Scalars("evaluation/mask_AP")[1].value == pytest.approx(evaluation[1]["mask_AP"])


def test_every_evaluation_leaves_a_picture_with_predictions_beside_the_truth(finished: Path) -> None:
    pictures = sorted((finished / "pictures").iterdir())
    assert [path.name for path in pictures] == ["step-00000015.png", "step-00000030.png"]
    with Image.open(pictures[0]) as picture:
        assert picture.width == 4 * 5 * 128 + 3 * GAP_PX  # two pairs a row of images 96 x 128, enlarged to be read
        assert picture.height == 2 * (CAPTION_PX + GAP_PX + 5 * 96) + GAP_PX


def test_best_is_the_evaluation_with_the_highest_mask_ap(finished: Path) -> None:
    scores = {entry["step"]: entry["mask_AP"] for entry in entries(finished, "evaluation")}
    best = max(scores, key=lambda step: (scores[step], -step))
    assert (finished / "best").resolve().name == f"step-{best:08d}"
    assert (finished / "last").resolve().name == "step-00000030"


def test_the_saved_model_is_the_average_that_was_evaluated(finished: Path) -> None:
    """The recipe has an EMA: model.safetensors holds it, the trained weights lie in the training state."""
    shown = load_model(finished / "last").state_dict()
    trained = torch.load(finished / "last" / "training_state.pt", weights_only=True)["averaged"]["trained"]
    assert shown.keys() == trained.keys()
    name = "mask_head.mask_logits.weight"
    assert not torch.equal(shown[name], trained[name])
    assert float((shown[name] - trained[name]).abs().max()) < 0.1


def test_averages_in_numbers() -> None:
    """Weight 1 then 2 at decay 0.5: updates use min(0.5, 1/10) and min(0.5, 2/11); then 0.1 + 0.9 * 2 ..."""
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, 1.0)
    averages = Averages(model, decay=0.5)
    torch.nn.init.constant_(model.weight, 2.0)
    averages.update(model)
    assert float(averages.values["weight"]) == pytest.approx(0.1 * 1 + 0.9 * 2)
    averages.update(model)
    assert float(averages.values["weight"]) == pytest.approx(2 / 11 * 1.9 + 9 / 11 * 2)
    averages.swap(model)
    assert model.weight.item() == pytest.approx(2 / 11 * 1.9 + 9 / 11 * 2)
    averages.swap(model)
    assert model.weight.item() == 2.0


def test_a_line_cut_off_by_a_kill_is_dropped_and_what_came_after_the_checkpoint_too(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"kind": "train", "step": 1}\n{"kind": "train", "step": 2}\n{"kind": "tra')
    assert [entry["step"] for entry in read_metrics(path)] == [1, 2]
    with MetricsLog(tmp_path, first_step=1, steps=3, active=True):
        pass
    assert path.read_text() == '{"kind": "train", "step": 1}\n'


@pytest.mark.learns
@pytest.mark.parametrize("amp", ["off", "bf16"])
def test_steps_in_bf16_and_channels_last_stay_close_to_float32(
    data: tuple[CocoDataset, CocoDataset], tmp_path: Path, amp: str, margins: Margins
) -> None:
    """Losses of the first step: the same weights and images; bf16 has 8 bits, so a few percent."""
    for name, options in (("plain", {}), ("other", {"amp": amp, "channels_last": True})):
        fit(recipe(data, steps=1, evaluate_images=1, seed=SEED, **options), *data, tmp_path / name, ALONE)
    plain, other = (entries(tmp_path / name, "train")[0] for name in ("plain", "other"))
    for name in ("rpn_objectness", "classifier", "mask"):
        difference = abs(other[name] / plain[name] - 1)
        margins.below(f"relative difference of {name}", difference, 0.05 if amp == "bf16" else 1e-3)


def test_a_non_finite_loss_stops_with_step_term_and_advice_and_the_checkpoint_stays(
    data: tuple[CocoDataset, CocoDataset], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    fit(recipe(data, steps=2, evaluate_images=1), *data, out, ALONE)
    before = (out / "last" / "model.safetensors").read_bytes()
    poisoned = torch.load(out / "last" / "training_state.pt", weights_only=True)
    poisoned["averaged"]["trained"]["mask_head.mask_logits.bias"][:] = float("nan")
    torch.save(poisoned, out / "last" / "training_state.pt")
    with pytest.raises(NonFiniteLossError, match=r"step 3: mask is nan, .*Lower base_lr .*warmup_steps \(3\)"):
        fit(recipe(data, steps=9), *data, out, ALONE, resume=True)
    assert (out / "last").resolve().name == "step-00000002"
    assert (out / "last" / "model.safetensors").read_bytes() == before


def test_starting_from_a_checkpoint_takes_over_what_fits(data: tuple[CocoDataset, CocoDataset], tmp_path: Path) -> None:
    """A checkpoint of two classes: all but the class-wise last layers come from it."""
    chosen = recipe(data, steps=1, base_lr=1e-12, ema_decay=None, evaluate_images=1)
    source = tiny_model(dataclasses.replace(chosen.model, classes=("a", "b")))
    save_model(tmp_path / "source", source)
    fit(chosen, *data, tmp_path / "run", ALONE, init=tmp_path / "source")
    result, given = load_model(tmp_path / "run" / "last").state_dict(), source.state_dict()
    torch.testing.assert_close(result["rpn_head.conv.weight"], given["rpn_head.conv.weight"])
    assert result["box_head.class_logits.weight"].shape[0] == 4
    log = (tmp_path / "run" / "train.log").read_text()
    assert "stay random (first box_head.class_logits.weight)" in log


def test_starting_from_the_weights_of_a_classifier_fills_the_body(
    data: tuple[CocoDataset, CocoDataset], tmp_path: Path
) -> None:
    chosen = recipe(data, steps=1, base_lr=1e-12, ema_decay=None, evaluate_images=1)
    body = {name: torch.ones_like(value) for name, value in MaskRCNN(chosen.model).backbone.body.state_dict().items()}
    torch.save({**body, "fc.weight": torch.zeros(10, 64)}, tmp_path / "resnet.pth")
    fit(chosen, *data, tmp_path / "run", ALONE, init=tmp_path / "resnet.pth")
    result = load_model(tmp_path / "run" / "last").state_dict()
    torch.testing.assert_close(result["backbone.body.layer3.0.conv1.weight"], body["layer3.0.conv1.weight"])


def test_fp16_without_a_gpu_and_other_classes_are_refused_before_anything_is_written(
    data: tuple[CocoDataset, CocoDataset], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="amp: got 'fp16' without a GPU, expected 'bf16' or 'off'"):
        fit(recipe(data, amp="fp16"), *data, tmp_path / "run", ALONE)
    other = tiny_recipe.build(("cat", "dog"))
    with pytest.raises(ValueError, match="got classes circle, square, star, expected those of the recipe, cat, dog"):
        fit(other, *data, tmp_path / "run", ALONE)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("total_batch", [8, 12])
def test_a_step_of_more_images_than_there_are_is_told(
    data: tuple[CocoDataset, CocoDataset], tmp_path: Path, total_batch: int
) -> None:
    chosen = recipe(data, steps=1, total_batch=total_batch, reference_batch=total_batch)
    fit(chosen, *data, tmp_path / "run", ALONE)
    told = f"note: a step has {total_batch} images and the set 10 images to learn from, so a step shows some of them"
    assert (told in (tmp_path / "run" / "train.log").read_text()) == (total_batch > 10)
