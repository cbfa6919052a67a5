"""From a packaged recipe to a verified artifact, at the size of tests/support/models/small_recipes.py."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from maskline_export.cli import main as export_main
from maskline_train.checkpoint import load_model, save_model
from maskline_train.distributed import Processes
from maskline_train.fit import fit
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.recipe import Recipe
from maskline_train.recipes import load_recipe, recipe_names
from maskline_train.spec import ModelSpec
from maskline_train.training.metrics_log import read_metrics
from support.export.kept_traces import kept_traces
from support.models.small_recipes import SHRUNK, MadeData, fields, parts, small
from support.models.tiny import tiny_model
from support.processes.in_process import call

# A constant added to every key of the non-local block, which the softmax over the keys does not feel.
UNFELT = {"backbone.body.non_local.phi.bias"}
ALONE = Processes(0, 1, torch.device("cpu"))


class RecipeChain:
    """Trains each recipe for a step, and exports it.

    Args:
        root: a folder for data, runs and artifacts.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = MadeData(root / "data")
        self._checked: set[str] = set()

    def check(self, name: str) -> None:
        """Build, shrink, train one step, save, load; once."""
        if name in self._checked:
            return
        recipe = small(self.of_its_data(name))
        before, after = self.train(name, recipe)
        assert_moved(before, after)
        assert after.spec == recipe.model
        self._checked.add(name)

    def of_its_data(self, name: str) -> Recipe:
        """The recipe at full size for the classes of its data; the small one differs in size alone."""
        recipe = load_recipe(name)(self.data.of(name)[0].classes)
        full, shrunk = fields(recipe), fields(small(recipe))
        assert full.keys() == shrunk.keys()
        changed = {field for field in full if full[field] != shrunk[field]}
        assert changed <= SHRUNK, changed - SHRUNK
        assert len(full["model.anchors.sizes_px"]) == len(shrunk["model.anchors.sizes_px"])
        assert len(full["model.preprocessing.canvases"]) == len(shrunk["model.preprocessing.canvases"])
        spec_file = self.root / "model.json"
        recipe.model.save(spec_file)
        assert ModelSpec.load(spec_file) == recipe.model
        return recipe

    def train(self, name: str, recipe: Recipe) -> tuple[MaskRCNN, MaskRCNN]:
        """The networks before and after one step of `fit`, whose losses are those of its branches, and finite."""
        start = tiny_model(recipe.model, seed=1)  # masks far from the threshold, boxes apart: what verify can compare
        if start.backbone.body.non_local is not None:  # its last layer is zero at first, and lets no gradient through
            torch.nn.init.normal_(start.backbone.body.non_local.out.weight, std=0.01)
        save_model(self.root / name / "start", start)
        run = self.root / name / "run"
        fit(recipe, *self.data.of(name), run, ALONE, init=self.root / name / "start")
        step, evaluation = read_metrics(run / "metrics.jsonl")
        assert (step["kind"], evaluation["kind"]) == ("train", "evaluation")
        spec = recipe.model
        losses = {"rpn_objectness", "rpn_box", "classifier", "box"}
        losses |= ({"mask"} if spec.mask_head else set()) | ({"keypoint"} if spec.keypoint_head else set())
        assert set(step) == {"kind", "step", "lr", "loss", "grad_norm", "images_per_s"} | losses
        assert all(math.isfinite(step[term]) and step[term] > 0 for term in losses)
        return load_model(self.root / name / "start"), load_model(run / "last")

    def export_and_verify(self, name: str) -> None:
        """The commands of a user, on the checkpoint that `check` trained and the validation images."""
        checkpoint, artifact = self.root / name / "run" / "last", self.root / name / "artifact"
        with kept_traces():
            assert call(export_main, "onnx", str(checkpoint), str(artifact)) == 0
        report = self.root / name / "parity.json"
        val_set = self.data.of(name)[1]
        images = [word for record in val_set for word in ("--images", str(val_set.image_folder / record.file_name))]
        assert call(export_main, "verify", str(checkpoint), str(artifact), *images, "--json", str(report)) == 0
        found = json.loads(report.read_text())
        assert found["first_deviation"] is None
        assert found["images"] == 2
        assert found["detections"] > 0


def with_every_part() -> frozenset[str]:
    """Names of recipes that have every part of the exported graphs among them, none of which can be left out."""
    chosen = {name: parts(load_recipe(name)(("any",)).model) for name in recipe_names()}
    for name in sorted(chosen, key=lambda name: (len(chosen[name]), name)):
        others = frozenset().union(*(found for other, found in chosen.items() if other != name))
        if chosen[name] <= others:
            del chosen[name]
    return frozenset(chosen)


def assert_moved(before: MaskRCNN, after: MaskRCNN) -> None:
    """Every trained tensor has changed, and what is frozen has not."""
    frozen_norms = before.spec.backbone.norm == "frozen_batch"
    changed = after.state_dict()
    trained = {name for name, parameter in before.named_parameters() if parameter.requires_grad}
    trained -= UNFELT
    parameters = {name for name, _ in before.named_parameters()}
    for name, tensor in before.state_dict().items():
        if name in trained:
            assert not torch.equal(tensor, changed[name]), f"{name} did not train"
        elif name not in UNFELT and (name in parameters or frozen_norms):
            assert torch.equal(tensor, changed[name]), f"{name} is frozen and moved"
