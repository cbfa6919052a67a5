"""A training step of fixed size: the losses of one as long as its samples, in one graph, and nobody waits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from functorch.compile import make_boxed_func
from maskline_train.ground_truth import batched
from maskline_train.model.draws import image_keys
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.spec import ModelSpec, RoIAlignSpec
from maskline_train.target import Target
from support.models import image_by_image
from support.models.pixel_boxes import pixel_spec
from support.models.training_variants import (
    KEYPOINTS,
    MASKS_AND_KEYPOINTS,
    VARIANTS,
    batch,
    small_model,
    variant,
    with_points_of,
)
from torch._dynamo.backends.common import aot_autograd
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode

STEPS = VARIANTS | {
    "keypoints": dataclasses.replace(variant(mask_head=None), keypoint_head=KEYPOINTS),
    "masks and keypoints": MASKS_AND_KEYPOINTS,
    **{
        f"RoIs by {mode}": dataclasses.replace(variant(), roi_align=RoIAlignSpec(mode=mode))
        for mode in ("pool", "warp", "align_max")
    },
    "adaptive RoIAlign": dataclasses.replace(variant(), roi_align=RoIAlignSpec(sampling_ratio=0)),
}
# Batch norms that learn, in a stage that runs on RoIs: rows that do not count would be in their statistics. The paper's
# C4 networks keep theirs fixed, and are of fixed size.
OF_NO_FIXED_SIZE = {name for name in STEPS if name.startswith("C4") and name != "C4 of bottlenecks, frozen"}
FIXED = [name for name in STEPS if name not in OF_NO_FIXED_SIZE]
PIXELS = pixel_spec(variant(norm="frozen_batch"))  # of an import; its rules have an oracle of their own
COMPILED_IN_CI = ["masks and keypoints"]
# Sums in another order. Of float32 numbers of which the largest decide, losses keep six digits, gradients five.
LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-4


def many_objects(seed: int = 3) -> Target:
    """Eleven objects of noise, so that padding is not half of the rows."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(11, 2, generator=generator) * torch.tensor([70.0, 50.0])
    boxes = torch.cat([corners, corners + 8 + torch.rand(11, 2, generator=generator) * 22], dim=1)
    whole = torch.zeros(11, 96, 128, dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(whole, boxes.int().tolist(), strict=True):
        mask[y0 : y1 + 1, x0 : x1 + 1] = torch.rand(y1 + 1 - y0, x1 + 1 - x0, generator=generator) > 0.3
    labels, points = torch.arange(11) % 3, torch.rand(11, 3, 3, generator=generator)
    points[..., :2] = boxes[:, None, :2] + points[..., :2] * 1.1 * (boxes[:, None, 2:] - boxes[:, None, :2])
    points[..., 2] = (points[..., 2] * 3).floor()
    return Target(boxes, labels, whole, points)


def inputs(spec: ModelSpec) -> tuple:
    """Three images: one object, none, eleven."""
    canvas, info, targets = batch()
    targets = with_points_of([*targets, many_objects()], spec)
    return torch.cat([canvas, canvas[:1].flip(2)]), torch.cat([info, info[:1]]), targets, image_keys(5, 7, range(3))


def gradients(model: MaskRCNN, losses: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    model.zero_grad()
    torch.stack(list(losses.values())).sum().backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def assert_same_step(model: MaskRCNN, found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert list(found) == list(expected)
    for name, loss in expected.items():
        assert loss > 0, name
        assert found[name].item() == pytest.approx(loss.item(), rel=LOSS_TOLERANCE), name
    ours, theirs = gradients(model, found), gradients(model, expected)
    # A gradient that is zero, of a bias before a softmax over cells, is what rounding leaves of sums that cancel.
    rounding = 1e-7 * max(gradient.abs().max() for gradient in theirs.values())
    for name, gradient in theirs.items():
        largest = gradient.abs().max()
        assert (ours[name] - gradient).abs().max() <= GRADIENT_TOLERANCE * largest + rounding, name


@pytest.mark.parametrize("name", STEPS)
def test_losses_and_gradients_are_those_of_arrays_as_long_as_the_samples(name: str) -> None:
    model = small_model(STEPS[name]).train()
    args = inputs(STEPS[name])
    expected = image_by_image.losses(model, *args)
    canvas, info, targets, keys = args
    assert_same_step(model, model(canvas, info, batched(targets), keys), expected)


WAITING = {  # operators whose result, or whose size, a GPU has to tell the host; and numbers that are copied to it
    "aten.nonzero.default",
    "aten._local_scalar_dense.default",
    "aten.masked_select.default",
    "aten.repeat_interleave.Tensor",
    "aten.unique_consecutive.default",
    "aten._unique2.default",
    "aten.unique_dim.default",
    "aten.lift_fresh.default",
    "aten.lift_fresh_copy.default",
    "aten._to_copy.default from the host",
    "aten.index.Tensor by a mask",
    "aten.index_put_.default by a mask",
}


class Walk(TorchDispatchMode):
    """Notes every operator that runs."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.seen.add(named(function, args))
        result = function(*args, **(kwargs or {}))
        if str(function) == "aten._to_copy.default" and result.device != args[0].device:
            self.seen.add("aten._to_copy.default from the host")
        return result


def named(function: object, args: tuple) -> str:
    """The operator, and whether its indices are a mask."""
    name = str(function)
    if name in ("aten.index.Tensor", "aten.index_put_.default", "aten.index_put.default"):
        dtypes = {getattr(index, "meta", {}).get("val", index).dtype for index in args[1] if index is not None}
        return f"{name} by a mask" if dtypes & {torch.bool, torch.uint8} else name
    return name


@pytest.mark.parametrize("spec", [*(STEPS[name] for name in FIXED), PIXELS], ids=[*FIXED, "boxes of pixels"])
def test_a_gpu_is_asked_nothing(spec: ModelSpec) -> None:
    """The step as a GPU runs it, on tensors that have a device and a size and no numbers: a question would raise."""
    canvas, info, targets, keys = inputs(spec)
    truth = batched(targets)
    sampling = small_model(spec).sampling
    with FakeTensorMode() as mode:
        with torch.device("cuda"):
            model = MaskRCNN(spec, sampling).train()

        def moved(tensor: torch.Tensor) -> torch.Tensor:
            return mode.from_tensor(tensor).to("cuda")

        args = moved(canvas), moved(info), truth.map(moved), moved(keys)
        with Walk() as walk:
            losses = model(*args)
    assert {loss.device.type for loss in losses.values()} == {"cuda"}
    assert {"maskline.proposal_nms.default", "maskline.multiscale_roi_align.default"} <= walk.seen
    assert not walk.seen & WAITING


def test_the_walk_sees_what_waits() -> None:
    with FakeTensorMode(), Walk() as walk:
        numbers, mask = torch.zeros(4, device="cuda"), torch.zeros(4, dtype=torch.bool, device="cuda")
        numbers.new_tensor([1.0, 2.0])
        assert "aten.lift_fresh.default" in walk.seen
        numbers[mask] = numbers[0]
        assert {name for name in walk.seen if "by a mask" in name} <= WAITING
        assert any("by a mask" in name for name in walk.seen)
        torch.zeros(3).to("cuda")
        assert "aten._to_copy.default from the host" in walk.seen
        for question in (lambda: numbers.sum().item(), lambda: numbers[mask], lambda: torch.unique(numbers)):
            with pytest.raises((DataDependentOutputException, DynamicOutputShapeException)):
                question()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in COMPILED_IN_CI else pytest.mark.long) for name in FIXED]
)
def test_forward_and_backward_are_one_graph_each_with_nothing_that_waits(name: str) -> None:
    model = small_model(STEPS[name]).train()
    canvas, info, targets, keys = inputs(STEPS[name])
    graphs: list[torch.fx.GraphModule] = []

    def note(graph: torch.fx.GraphModule, _: object) -> Callable[..., object]:
        graphs.append(graph)
        return make_boxed_func(graph.forward)

    torch._dynamo.reset()
    step = torch.compile(model, backend=aot_autograd(fw_compiler=note, bw_compiler=note), fullgraph=True)
    found = step(canvas, info, batched(targets), keys)
    assert_same_step(model, found, image_by_image.losses(model, canvas, info, targets, keys))
    assert len(graphs) == 2
    seen = {
        named(node.target, node.args) for graph in graphs for node in graph.graph.nodes if node.op == "call_function"
    }
    assert "maskline.multiscale_roi_align_backward.default" in seen
    assert not seen & WAITING


@pytest.mark.long
def test_boxes_of_pixels_are_one_graph_whose_losses_are_those_of_the_rows_that_count() -> None:
    model = small_model(PIXELS).train()
    canvas, info, targets, keys = inputs(PIXELS)
    torch._dynamo.reset()
    found = torch.compile(model, backend="aot_eager", fullgraph=True)(canvas, info, batched(targets), keys)
    assert_same_step(model, found, model(canvas, info, batched(targets), keys))


@pytest.mark.parametrize("name", sorted(OF_NO_FIXED_SIZE))
def test_batch_statistics_on_rois_are_those_of_rois_that_count(name: str) -> None:
    model = small_model(STEPS[name]).train()
    assert model._leaves_rows_out(torch.device("cuda"))
    assert not small_model(VARIANTS["C4 of bottlenecks, frozen"]).train()._leaves_rows_out(torch.device("cuda"))
