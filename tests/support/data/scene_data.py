"""Small made scenes for tests that train: a COCO data set of drawn objects, a slim network for it and its training."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from margins import SEED
from maskline_train.data.coco import CocoDataset
from maskline_train.data.made.scenes import mask_annotation
from maskline_train.model.draws import image_keys
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.model.sampling import SamplingSpec
from maskline_train.spec import (
    AnchorSpec,
    BackboneSpec,
    BoxHeadSpec,
    MaskHeadSpec,
    ModelSpec,
    PreprocessingSpec,
    ProposalSpec,
)
from maskline_train.target import Target
from PIL import Image

SIDE = 64
Scene = tuple[npt.NDArray[np.float64], list[tuple[int, npt.NDArray[np.bool_]]]]  # [S, S, 3]; (label, mask [S, S])


def pixel_centres() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """x and y of each pixel of a scene, [S, S] each."""
    x, y = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)
    return x, y


def write_scenes(root: Path, split: str, classes: Sequence[str], scenes: Iterable[Scene]) -> CocoDataset:
    """Write a split and read it back."""
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / split).mkdir()
    images, annotations = [], []
    for number, (pixels, objects) in enumerate(scenes, start=1):
        name = f"{number:04d}.png"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / split / name)
        images.append({"id": number, "file_name": name, "height": SIDE, "width": SIDE})
        for label, mask in objects:
            annotations.append(mask_annotation(len(annotations) + 1, number, label + 1, mask))
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(classes)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return CocoDataset(root, split)


def slim_network(classes: tuple[str, ...], mask_head: MaskHeadSpec) -> ModelSpec:
    """A network that learns simple scenes within seconds."""
    return ModelSpec(
        classes=classes,
        preprocessing=PreprocessingSpec(shorter_side_px=SIDE, longer_side_px=SIDE, canvases=((SIDE, SIDE),)),
        backbone=BackboneSpec(depth=18, base_channels=8, norm="group", frozen_stages=0, fpn_channels=16),
        anchors=AnchorSpec(sizes_px=(8.0, 16.0, 32.0, 64.0, 128.0)),
        proposals=ProposalSpec(pre_nms_per_level=50, max_proposals=20),
        box_head=BoxHeadSpec(hidden=32),
        mask_head=mask_head,
    )


def learned(spec: ModelSpec, dataset: CocoDataset, steps: int, batch: int = 6) -> MaskRCNN:
    """The network after so many steps on a data set, at a rate that falls to zero; the same every time for a seed."""
    torch.manual_seed(SEED)
    sampling = SamplingSpec(rpn_samples=32, roi_samples=16, pre_nms_per_level=50, max_proposals=20)
    model = MaskRCNN(spec, sampling).train()
    count = len(dataset)
    objects = [dataset.objects(i) for i in range(count)]
    canvases = torch.from_numpy(np.stack([dataset.image(i) for i in range(count)]))
    targets = [Target(*(torch.from_numpy(x) for x in (o.boxes, o.labels, o.masks))) for o in objects]
    info = torch.tensor([[SIDE, SIDE, 1.0, 1.0, SIDE, SIDE]] * batch)
    optimizer = torch.optim.AdamW(model.parameters())
    generator = torch.Generator().manual_seed(SEED)
    for step in range(steps):
        rows = torch.randint(0, count, (batch,), generator=generator)
        optimizer.param_groups[0]["lr"] = 4e-3 * min(1.0, (step + 1) / 10) * (1 - step / steps)
        losses = model(canvases[rows], info, [targets[row] for row in rows], image_keys(SEED, step, range(batch)))
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    return model
