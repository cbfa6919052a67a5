"""Every packaged recipe at a size that a test trains and exports in seconds, and made data of the kind it is for."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from maskline_train.data import coco_person
from maskline_train.data.cityscapes import convert
from maskline_train.data.coco import CocoDataset
from maskline_train.data.made import figures
from maskline_train.data.made.digits import make_digits
from maskline_train.model.backbone import resnet
from maskline_train.recipe import Recipe
from maskline_train.recipes import load_recipe
from maskline_train.spec import MaskHeadSpec, ModelSpec
from support.data.cityscapes_files import STREET, write_cityscapes
from support.data.shapes_data import write_shapes

SHORTER_PX, LONGER_PX = 64, 128
CHANNELS, GROUPS = 8, 4
# All that `small` may change.
SHRUNK = {
    *("model.preprocessing.shorter_side_px", "model.preprocessing.longer_side_px", "model.preprocessing.canvases"),
    *("model.backbone.depth", "model.backbone.base_channels", "model.backbone.fpn_channels"),
    *("model.backbone.norm_groups", "model.box_head.norm_groups", "model.mask_head.norm_groups"),
    "model.box_head.conv_channels",
    *("model.anchors.sizes_px", "model.roi_align.canonical_size_px"),
    *("model.proposals.pre_nms_per_level", "model.proposals.max_proposals", "model.box_head.hidden"),
    *("model.mask_head.hidden", "model.mask_head.num_convs", "model.mask_head.channels"),
    "model.keypoint_head.channels",
    *("sampling.pre_nms_per_level", "sampling.max_proposals", "sampling.roi_samples"),
    "augmentation.shorter_side_px",
    *("training.steps", "training.total_batch", "training.workers", "training.decay.milestones"),
    *("training.warmup_steps", "training.checkpoint_every", "training.evaluate_every"),
}
# Blocks of res2 to res5. Two in res4: the non-local block stands before the last of them.
BLOCKS = {18: (1, 1, 1, 1), 50: (1, 1, 2, 1)}


def small(recipe: Recipe) -> Recipe:
    """The recipe with fewer and narrower layers, smaller pictures and anchors, fewer samples, and a single step.

    What makes it the recipe it is stays: which features are read, which heads there are and how they work, norms,
    frozen stages, the number of groups, the non-local block, the RoI operator, thresholds, optimiser, decay, number
    format, flips. Basic blocks are those of depth 18, others those of 50, which `few_blocks` makes shorter still. The
    batch is scaled as `--total-batch` does it, so the rate and what counts steps follow.
    """
    ratio = SHORTER_PX / recipe.model.preprocessing.shorter_side_px
    scales = recipe.augmentation.shorter_side_px
    return dataclasses.replace(
        recipe,
        model=_small_model(recipe.model, ratio),
        sampling=dataclasses.replace(recipe.sampling, pre_nms_per_level=50, max_proposals=40, roi_samples=16),
        augmentation=dataclasses.replace(
            recipe.augmentation,
            shorter_side_px=None if scales is None else (round(scales[0] * ratio), round(scales[1] * ratio)),
        ),
        training=dataclasses.replace(recipe.training.with_total_batch(2), steps=1, workers=0),
    )


def _small_model(spec: ModelSpec, ratio: float) -> ModelSpec:
    body, mask, keypoint = spec.backbone, spec.mask_head, spec.keypoint_head
    return dataclasses.replace(
        spec,
        preprocessing=dataclasses.replace(
            spec.preprocessing,
            shorter_side_px=SHORTER_PX,
            longer_side_px=LONGER_PX,
            canvases=tuple(_small_canvas(*canvas) for canvas in spec.preprocessing.canvases),
        ),
        backbone=dataclasses.replace(
            body,
            depth=18 if body.basic_blocks else 50,
            base_channels=CHANNELS if body.groups == 1 else 64 // body.width_per_group,  # one channel a group in res2
            fpn_channels=CHANNELS,
            norm_groups=GROUPS,
        ),
        anchors=dataclasses.replace(spec.anchors, sizes_px=tuple(size * ratio for size in spec.anchors.sizes_px)),
        proposals=dataclasses.replace(spec.proposals, pre_nms_per_level=50, max_proposals=40),
        roi_align=dataclasses.replace(spec.roi_align, canonical_size_px=spec.roi_align.canonical_size_px * ratio),
        box_head=dataclasses.replace(spec.box_head, hidden=32, conv_channels=CHANNELS, norm_groups=GROUPS),
        mask_head=None if mask is None else _small_mask_head(mask),
        keypoint_head=None if keypoint is None else dataclasses.replace(keypoint, channels=CHANNELS),
    )


def _small_mask_head(head: MaskHeadSpec) -> MaskHeadSpec:
    return dataclasses.replace(head, hidden=16, num_convs=1, channels=CHANNELS, norm_groups=GROUPS)


def _small_canvas(height: int, width: int) -> tuple[int, int]:
    """Of the same orientation."""
    return (LONGER_PX if height >= width else SHORTER_PX, LONGER_PX if width >= height else SHORTER_PX)


def few_blocks(patch: pytest.MonkeyPatch) -> None:
    """Let bodies have one block a stage, two in res4, until the patch ends."""
    for depth, blocks in BLOCKS.items():
        patch.setitem(resnet.BLOCKS_PER_STAGE, depth, blocks)


def fields(recipe: Recipe) -> dict[str, Any]:
    """What a recipe says, by dotted name; branches that are None are left out."""
    return dict(_fields(recipe.to_dict(), ""))


def _fields(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from _fields(entry, f"{name}.{key}" if name else key)
    else:
        yield name, value


def parts(spec: ModelSpec) -> frozenset[tuple[object, ...]]:
    """What the exported graphs are made of; networks differ beyond that in numbers: widths, counts, thresholds.

    Batch norms, frozen or not, are part of the convolutions by then.
    """
    body, roi = spec.backbone, spec.roi_align
    block = "basic" if body.basic_blocks else "bottleneck" if body.groups == 1 else "grouped"
    reads = (body.features, block if body.features == "c4" else "", roi.mode, roi.sampling_ratio, roi.aligned)
    found: set[tuple[object, ...]] = {
        ("blocks", block, "group" if body.norm == "group" else "folded"),
        ("features", body.features, body.fpn_norm),
        ("rpn", spec.rpn_head.num_convs, spec.proposals.score_thresh > 0),
        ("boxes", *reads),
        ("box layers", spec.box_head.num_convs > 0, spec.box_head.norm, spec.box_head.num_fcs),
    }
    if body.non_local:
        found.add(("non-local",))
    if spec.mask_head is not None:
        head = spec.mask_head
        found.add(("masks", *reads, head.kind, head.activation, head.class_agnostic, head.norm))
    if spec.keypoint_head is not None:
        found.add(("keypoints", *reads))
    return frozenset(found)


class MadeData:
    """Data sets of four images and two, each made when a recipe asks for it.

    Args:
        root: a folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def of(self, recipe_name: str) -> tuple[CocoDataset, CocoDataset]:
        """Training and validation split of the kind of data that a recipe is for."""
        head = load_recipe(recipe_name)(("any",)).model.keypoint_head
        if head is not None:
            kind = "figures" if head.names == figures.KEYPOINTS else "persons"
        else:
            kind = {"mask": "shapes", "cityscapes": "cityscapes"}.get(recipe_name.split("_")[0], "digits")
        folder = self.root / kind
        if not folder.exists():
            MAKERS[kind](folder)
        annotations = "instances" if head is None else "person_keypoints"
        return CocoDataset(folder, "train", annotations), CocoDataset(folder, "val", annotations)


def _shapes(folder: Path) -> None:
    write_shapes(folder, {"train": 4, "val": 2})


def _persons(folder: Path) -> None:
    """The shapes as persons: COCO's keypoints on the diagonal of each box, every third not labelled."""
    _shapes(folder)
    names = coco_person.KEYPOINTS
    for split in ("train", "val"):
        file = folder / "annotations" / f"instances_{split}.json"
        content = json.loads(file.read_text())
        content["categories"] = [{"id": 1, "name": "person", "keypoints": names}]
        for entry in content["annotations"]:
            x, y, width, height = entry["bbox"]
            steps = [i / len(names) for i in range(len(names))]
            points = [(0, 0, 0) if i % 3 == 2 else (x + s * width, y + s * height, 2) for i, s in enumerate(steps)]
            entry |= {"category_id": 1, "keypoints": [value for point in points for value in point]}
        file.with_name(f"person_keypoints_{split}.json").write_text(json.dumps(content))


def _cityscapes(folder: Path) -> None:
    root = folder.with_name("cityscapes_files")
    convert(write_cityscapes(root, {"train": [STREET] * 4, "val": [STREET] * 2}), folder)


MAKERS: dict[str, Callable[[Path], None]] = {
    "shapes": _shapes,
    "persons": _persons,
    "cityscapes": _cityscapes,
    "digits": lambda folder: make_digits(folder, train_images=4, val_images=2),
    "figures": lambda folder: figures.make_figures(folder, train_images=4, val_images=2),
}
