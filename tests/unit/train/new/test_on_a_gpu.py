"""`maskline-train new` where there is a GPU: it is found, timed, and what is too large for it made smaller."""

from pathlib import Path

import pytest
import torch
from maskline_train.checkpoint import save_model
from maskline_train.data.coco import CocoDataset
from maskline_train.new.choices.sizes import GPU
from maskline_train.new.choose import choose
from maskline_train.new.machine import this_machine
from maskline_train.new.start import start_for
from maskline_train.new.survey import survey
from support.data.shapes_data import write_shapes
from support.models.tiny import tiny_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="cuda: no GPU on this machine"),
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> CocoDataset:
    return CocoDataset(write_shapes(tmp_path_factory.mktemp("data") / "shapes", {"train": 24}), "train")


def test_steps_are_timed_on_the_card(dataset: CocoDataset, tmp_path: Path) -> None:
    save_model(tmp_path / "imported", tiny_model())
    machine = this_machine(use_gpu=True)
    assert machine.device.type == "cuda"
    start = start_for(survey(dataset), machine, tmp_path / "imported")
    assert start.room == GPU
    chosen = choose(start, survey(dataset), dataset, machine, minutes=1, evaluated=4)
    assert chosen.recipe.training.total_batch == 8
    assert chosen.recipe.training.amp == "bf16"
    assert 0 < chosen.probe.memory_gib < machine.gpu_memory_gib


def test_a_batch_that_does_not_fit_is_halved(dataset: CocoDataset) -> None:
    machine = this_machine(use_gpu=True)
    start = start_for(survey(dataset), machine, None)
    fits = choose(start, survey(dataset), dataset, machine, minutes=1, evaluated=4)
    needed = fits.probe.memory_gib / machine.gpu_memory_gib
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.7 * needed)
    try:
        smaller = choose(start, survey(dataset), dataset, machine, minutes=1, evaluated=4)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert smaller.recipe.training.total_batch < fits.recipe.training.total_batch
    assert "twice as many did not fit" in smaller.reasons["training.total_batch"]
