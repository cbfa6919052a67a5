"""Two gloo processes on halves of a batch against one process on the whole of it."""

from pathlib import Path

import pytest
import torch
from maskline_train.checkpoint import load_model
from maskline_train.distributed import Processes
from maskline_train.training.metrics_log import read_metrics
from support.data.shapes_data import write_shapes
from support.processes import ddp_worker
from support.processes.two import by_one_and_by_two


@pytest.fixture(scope="module")
def outs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The worker's output by one process, here, and by two under torchrun."""
    folder = tmp_path_factory.mktemp("ddp")
    data = write_shapes(folder / "shapes", {"train": 9, "val": 5})
    return by_one_and_by_two(ddp_worker, (data,), folder, torchrun=True)


def test_gradients_of_two_processes_are_those_of_one_on_the_joint_batch(outs: tuple[Path, Path]) -> None:
    one, two = (torch.load(out / "gradients.pt", weights_only=True) for out in outs)
    assert one.keys() == two.keys()
    assert len(one) > 40
    for name, gradient in one.items():
        # Sums of float32 in another order: 2^-24 relative a term, thousands of terms. 1e-8: what rounding leaves of
        # the gradient of a heatmap's bias, which a softmax over the heatmap does not feel.
        scale = float(gradient.abs().max())
        torch.testing.assert_close(
            two[name], gradient, rtol=1e-4, atol=1e-5 * scale + 1e-8, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_a_run_of_two_processes_is_the_run_of_one(outs: tuple[Path, Path]) -> None:
    """Losses, rates, the evaluation that was shared out, and the weights in the end."""
    one, two = (read_metrics(out / "run" / "metrics.jsonl") for out in outs)
    assert [entry["kind"] for entry in one] == ["train"] * 3 + ["evaluation"]
    for ours, theirs in zip(two, one, strict=True):
        for name in set(theirs) - {"kind", "images_per_s"}:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3, abs=1e-6), name  # 3 steps apart
    weights = [load_model(out / "run" / "last").state_dict() for out in outs]
    for name, weight in weights[0].items():
        torch.testing.assert_close(
            weights[1][name], weight, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_a_batch_that_cannot_be_shared_out_is_refused() -> None:
    with pytest.raises(ValueError, match="got 16 images for 3 processes, expected a multiple"):
        Processes(0, 3, torch.device("cpu")).share_of(16)
    assert Processes(0, 4, torch.device("cpu")).share_of(16) == 4
