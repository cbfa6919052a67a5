"""The recipes of the paper's further runs say what its text says."""

import pytest
from maskline_train.recipes import load_recipe
from maskline_train.training.schedule import StepDecay

# name: steps, milestones, images a step, rate, shorter side (None: the spec's)
SCHEDULES = {
    "mask_rcnn_x101_fpn": (160_000, (120_000,), 8, 0.01, None),  # P34
    "mask_rcnn_x101_fpn_updated": (180_000, (120_000, 160_000), 8, 0.01, None),  # P38
    "mask_rcnn_x101_fpn_scales": (260_000, (200_000, 240_000), 8, 0.01, (640, 800)),  # P40
    "mask_rcnn_x152_fpn": (260_000, (200_000, 240_000), 8, 0.01, (640, 800)),  # P26
    "mask_rcnn_x152_fpn_nl": (260_000, (200_000, 240_000), 8, 0.01, (640, 800)),  # P27
    "cityscapes_r50_fpn": (24_000, (18_000,), 8, 0.01, (800, 1024)),  # P70
    "cityscapes_r50_fpn_coco": (4_000, (3_000,), 8, 0.01, (800, 1024)),  # P71
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_those_of_the_text(name):
    steps, milestones, images, rate, shorter_side = SCHEDULES[name]
    recipe = load_recipe(name)(("a", "b"))
    training = recipe.training
    assert (training.steps, training.decay) == (steps, StepDecay(milestones, 0.1))
    assert (training.total_batch, training.peak_lr) == (images, rate)
    assert recipe.augmentation.shorter_side_px == shorter_side
    assert (recipe.sampling.roi_samples, recipe.sampling.roi_positive_fraction) == (512, 0.25)


def test_bodies_and_thresholds_are_those_of_the_text():
    specs = {name: load_recipe(name)(("a", "b")).model for name in SCHEDULES}
    bodies = {name: (spec.backbone.depth, spec.backbone.non_local) for name, spec in specs.items()}
    assert bodies["mask_rcnn_x101_fpn"] == bodies["mask_rcnn_x101_fpn_scales"] == (101, False)
    assert bodies["mask_rcnn_x152_fpn"] == (152, False)
    assert bodies["mask_rcnn_x152_fpn_nl"] == (152, True)
    assert bodies["cityscapes_r50_fpn"] == (50, False)
    assert all(spec.backbone.groups > 1 for name, spec in specs.items() if "_x1" in name)
    # P48: "We also change the NMS threshold to 0.5 (from a default value of 0.3)"
    assert specs["mask_rcnn_x101_fpn"].box_head.nms_thresh == 0.3
    assert specs["mask_rcnn_x101_fpn_updated"].box_head.nms_thresh == 0.5
    sizes = specs["cityscapes_r50_fpn"].preprocessing
    assert (sizes.shorter_side_px, sizes.canvases) == (1024, ((1024, 2048),))  # the pictures' own size


@pytest.mark.parametrize("name", SCHEDULES)
def test_headers_say_how_to_run_them_and_what_the_paper_found(name):
    header = load_recipe(name).__globals__["__doc__"]
    for word in ("Command:", "Hardware:", "Time:", "Result:", "not reproduced by us", "ledger P"):
        assert word in header
