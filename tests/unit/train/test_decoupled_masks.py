"""The paper's finding about masks and classes, table 2b, on a set made to show it (ledger P04, P05).

Every image has a plate with a fruit on it, and the fruit's pixels belong to the plate's mask too. Masks of independent
classes only look at the pixel: fruit is part of a plate and of a fruit, the rim is part of a plate alone. Masks of
competing classes have to settle for each pixel whose mask this is, which the box branch has settled for the object as a
whole, and which a small mask branch, that sees a few cells around the pixel, cannot tell.
"""

import json

import numpy as np
import pytest
import torch
from maskline_train.data.coco import CocoDataset
from maskline_train.distributed import Processes
from maskline_train.evaluate import evaluate
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.model.targets import SamplingSpec, Target
from maskline_train.spec import (
    AnchorSpec,
    BackboneSpec,
    BoxHeadSpec,
    MaskHeadSpec,
    ModelSpec,
    PreprocessingSpec,
    ProposalSpec,
    RoIAlignSpec,
)
from PIL import Image

SIDE, TRAIN, VAL, BATCH, STEPS = 64, 64, 32, 6, 100
CLASSES = ("plate", "fruit")
ALONE = Processes(0, 1, torch.device("cpu"))


def write_plates(root, count, split, seed):
    """Noisy images of one plate with a fruit in its middle, with exact masks."""
    rng = np.random.default_rng(seed)
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / split).mkdir()
    columns, rows = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)
    images, annotations = [], []
    for number in range(1, count + 1):
        radius = rng.uniform(18, 28)
        x, y = rng.uniform(radius, SIDE - radius, 2)
        pixels = rng.normal((40, 60, 90), 10, (SIDE, SIDE, 3))
        for label, (part, colour) in enumerate(((radius, (220, 220, 220)), (0.65 * radius, (210, 60, 40)))):
            inside = np.hypot(columns - x, rows - y) < part
            pixels[inside] = rng.normal(colour, 10, (int(inside.sum()), 3))
            angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
            outline = np.stack([x + part * np.cos(angles), y + part * np.sin(angles)], axis=1)
            annotation = {"id": len(annotations) + 1, "image_id": number, "category_id": label + 1, "iscrowd": 0}
            annotation |= {"bbox": [x - part, y - part, 2 * part, 2 * part], "area": int(inside.sum())}
            annotations.append(annotation | {"segmentation": [outline.ravel().tolist()]})
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / split / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": SIDE, "width": SIDE})
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return CocoDataset(root, split)


def network(activation):
    return ModelSpec(
        classes=CLASSES,
        preprocessing=PreprocessingSpec(shorter_side_px=SIDE, longer_side_px=SIDE, canvases=((SIDE, SIDE),)),
        backbone=BackboneSpec(depth=18, base_channels=8, norm="batch", frozen_stages=0, fpn_channels=16),
        anchors=AnchorSpec(sizes_px=(8.0, 16.0, 32.0, 64.0, 128.0)),
        proposals=ProposalSpec(pre_nms_per_level=50, max_proposals=20),
        roi_align=RoIAlignSpec(canonical_size_px=224.0),
        box_head=BoxHeadSpec(hidden=32),
        mask_head=MaskHeadSpec(num_convs=1, channels=16, activation=activation),
    )


def learned(activation, train_set, val_set):
    """Metrics on the val split of a network with such masks, trained for some seconds."""
    torch.manual_seed(0)
    sampling = SamplingSpec(rpn_samples=32, roi_samples=16, pre_nms_per_level=50, max_proposals=20)
    model = MaskRCNN(network(activation), sampling).train()
    found = [train_set.objects(i) for i in range(TRAIN)]
    canvases = torch.from_numpy(np.stack([train_set.image(i) for i in range(TRAIN)]))
    targets = [Target(*(torch.from_numpy(x) for x in (o.boxes, o.labels, o.masks))) for o in found]
    info = torch.tensor([[SIDE, SIDE, 1.0, 1.0, SIDE, SIDE]] * BATCH)
    optimizer = torch.optim.AdamW(model.parameters())
    generator = torch.Generator().manual_seed(0)
    for step in range(STEPS):
        rows = torch.randint(0, TRAIN, (BATCH,), generator=generator)
        optimizer.param_groups[0]["lr"] = 6e-3 * min(1.0, (step + 1) / 10) * (1 - step / STEPS)
        losses = model(canvases[rows], info, [targets[row] for row in rows], generator)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    return evaluate(model, val_set, ALONE)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    root = tmp_path_factory.mktemp("plates")
    sets = write_plates(root, TRAIN, "train", 0), write_plates(root, VAL, "val", 1)
    return {activation: learned(activation, *sets) for activation in ("sigmoid", "softmax")}


@pytest.mark.slow
def test_masks_of_independent_classes_are_far_better_than_masks_of_competing_ones(found):
    # 81 and 42 when written; a third of the difference is left for other machines' rounding.
    assert found["sigmoid"].mask["AP"] > found["softmax"].mask["AP"] + 0.25


@pytest.mark.slow
def test_it_is_the_masks_that_competition_hurts_and_not_the_boxes(found):
    # 74 and 78 when written: the same objects are found and named.
    assert abs(found["sigmoid"].box["AP"] - found["softmax"].box["AP"]) < 0.12
    assert min(metrics.box["AP50"] for metrics in found.values()) > 0.85
