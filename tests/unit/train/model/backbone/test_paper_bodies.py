"""The recipes of the paper's single-level models: C4 and C5, with the text's numbers."""

import pytest
import torch
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.recipes import load_recipe

CLASSES = tuple(f"class {index}" for index in range(80))


@pytest.mark.parametrize(
    ("name", "depth", "features", "mask_side"),
    [
        ("mask_rcnn_r50_c4", 50, "c4", 14),  # figure 4, left: 14 x 14 masks
        ("mask_rcnn_r101_c4", 101, "c4", 14),
        ("mask_rcnn_r50_c5", 50, "c5", 28),  # the head of figure 4, right
    ],
)
def test_a_recipe_has_the_numbers_of_the_text(name: str, depth: int, features: str, mask_side: int) -> None:
    recipe = load_recipe(name)(CLASSES)
    spec = recipe.model
    assert (spec.backbone.depth, spec.backbone.features) == (depth, features)
    assert (recipe.sampling.roi_samples, spec.proposals.max_proposals) == (64, 300)  # P32, P45
    assert spec.box_head.nms_thresh == 0.3  # P48
    with torch.device("meta"):  # shapes alone
        model = MaskRCNN(spec)
    assert spec.mask_head is not None
    assert spec.mask_head.mask_side == mask_side
    assert model.rpn_head.logits.out_channels == 15  # P02: 5 scales x 3 ratios on the one level
    assert (model.res5 is not None) == (features == "c4")
