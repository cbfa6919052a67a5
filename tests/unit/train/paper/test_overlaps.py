"""Masks of overlapping objects: the numbers by hand, and the paper's claim on a trained network (ledger P53)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from maskline_train.checkpoint import load_model
from maskline_train.data.coco import CocoDataset
from maskline_train.data.made.digits import make_digits
from maskline_train.distributed import Processes
from maskline_train.evaluation.evaluate import evaluate
from maskline_train.evaluation.sheet import CAPTION_PX, GAP_PX
from maskline_train.paper.overlaps import GROUPS, draw_overlaps, score_overlaps
from PIL import Image
from pycocotools import mask as coco_mask
from support.data.scene_data import SIDE, write_scenes

BASE = Path(__file__).parents[4] / "demo" / "base"
ALONE, OTHER_CLASS, OWN_CLASS = GROUPS


def block(y0, y1, x0, x1):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def result(image_id, category_id, mask, box, score=0.9):
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    segmentation = {"size": list(mask.shape), "counts": rle["counts"].decode("ascii")}
    found = {"image_id": image_id, "category_id": category_id, "bbox": box, "score": score}
    return {**found, "segmentation": segmentation}


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    """Image 1: an L of class a with a block of class a in its corner, and one far off; image 2: a over b."""
    grey = np.full((SIDE, SIDE, 3), 128.0)
    corner = block(0, 20, 10, 30)
    scenes = [
        (grey, [(0, block(0, 40, 0, 30) & ~corner), (0, corner), (0, block(50, 60, 50, 60))]),
        (grey, [(0, block(0, 20, 0, 20)), (1, block(10, 30, 0, 20) & ~block(0, 20, 0, 20) | block(20, 40, 0, 20))]),
    ]
    return write_scenes(tmp_path_factory.mktemp("blocks"), "val", ("a", "b"), scenes)


def test_the_numbers_are_those_one_counts_by_hand(blocks):
    whole = block(0, 40, 0, 30)  # 1200 px, of which the L has 800 and the block in its corner 400
    results = [
        result(1, 1, whole, [0, 0, 30, 40]),
        result(1, 1, block(0, 20, 10, 30), [10, 0, 20, 20]),
        result(1, 1, block(50, 60, 50, 55), [50, 50, 10, 8]),
        result(1, 1, block(50, 60, 50, 60), [50, 50, 10, 10], score=0.4),  # nobody would look at it
    ]
    found = score_overlaps(blocks, results, 1)
    alone, own = found[ALONE], found[OWN_CLASS]
    assert (alone.objects, alone.found, alone.box_iou, alone.mask_iou) == (1, 1, 0.8, 0.5)
    assert (alone.on_others, alone.unseparated) == (0.0, 0.0)
    assert (own.objects, own.found, own.box_iou) == (2, 2, 1.0)
    assert own.mask_iou == pytest.approx((800 / 1200 + 1) / 2)
    assert own.on_others == pytest.approx((400 / 1200 + 0) / 2)
    assert own.unseparated == pytest.approx((400 / 1200 + 0) / 2)  # the corner's box has nothing but the corner
    assert found[OTHER_CLASS].objects == 0
    assert found[OTHER_CLASS].mask_iou is None


def test_a_detection_of_another_class_or_place_finds_nothing(blocks):
    results = [
        result(2, 2, block(0, 20, 0, 20), [0, 0, 20, 20]),  # where the a is
        result(2, 2, block(20, 40, 40, 60), [40, 20, 20, 20]),
    ]
    found = score_overlaps(blocks, results, 2)
    assert sum(group.objects for group in found.values()) == 5
    assert sum(group.found for group in found.values()) == 0


def test_the_picture_shows_the_image_with_most_overlaps_first(blocks, tmp_path):
    draw_overlaps(tmp_path / "new" / "overlaps.png", blocks, [result(1, 1, block(0, 40, 0, 30), [0, 0, 30, 40])], 2)
    with Image.open(tmp_path / "new" / "overlaps.png") as picture:
        pixels = np.asarray(picture)
    side = 480 // SIDE * SIDE + (480 % SIDE > 0) * SIDE  # enlarged, so that labels can be read
    above = CAPTION_PX + GAP_PX
    assert pixels.shape == (above + side, 4 * side + 3 * GAP_PX, 3)  # two pairs in a row
    truth, detected, *others = (pixels[above:, i * (side + GAP_PX) :][:, :side] for i in range(4))
    assert all((shown != 128).any() for shown in (truth, others[0]))
    assert (detected != 128).any()  # of the image with own-class overlap
    assert (others[1] == 128).all()


def test_results_without_masks_are_refused(blocks):
    bare = {key: value for key, value in result(1, 1, block(0, 2, 0, 2), [0, 0, 2, 2]).items() if key != "segmentation"}
    with pytest.raises(ValueError, match="overlaps: got results without masks, expected"):
        score_overlaps(blocks, [bare], 1)


@pytest.mark.learns
@pytest.mark.slow
def test_masks_of_a_trained_network_keep_off_overlapping_neighbours(tmp_path, margins):
    make_digits(tmp_path / "digits", seed=11, train_images=1, val_images=40)
    dataset = CocoDataset(tmp_path / "digits", "val")
    metrics = evaluate(load_model(BASE), dataset, Processes(0, 1, torch.device("cpu")))
    found = score_overlaps(dataset, metrics.results, len(dataset))
    assert found[OTHER_CLASS].found > 20
    # Wrong: a mask that does not separate them, all of the box. 18 % of it is another's, and some 6 % of their masks.
    separated = found[OTHER_CLASS].unseparated - found[OTHER_CLASS].on_others
    margins.above("share of others' pixels that the masks leave out", separated / found[OTHER_CLASS].unseparated, 0.5)
    assert found[ALONE].on_others < 0.01
    # They fit some 9 points worse than masks of objects alone (boxes 3): overlap is not free, but no failure either.
    margins.below("mask IoU that overlap costs", found[ALONE].mask_iou - found[OTHER_CLASS].mask_iou, 0.2)
