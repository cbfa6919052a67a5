"""One image from file to training item, and the batch of them: ours as the loader does it, and torchvision's.

torchvision's is its reference for detection (references/detection: presets.py with the backend `pil` and the policy
`hflip`, coco_utils.py): Pillow decodes, pycocotools fills the polygons, the flip mirrors image and masks, and the
network's transform resizes both and pads the batch. Its resizing runs inside the network, on the GPU of a training; the
stage is timed by itself, so a reader may leave it out.

Letters: G objects, H W canvas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from maskline_train.data.coco import CocoDataset
from maskline_train.data.loader import Batch, _TrainCollate, _TrainItem
from maskline_train.data.transforms import Sample, flip_horizontal, resize
from maskline_train.spec import PreprocessingSpec
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from torch import Tensor
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.transforms.v2 import functional

Stages = Mapping[str, Callable[[Any], Any]]  # in order; each takes what the one before gives


def our_stages(dataset: CocoDataset, spec: PreprocessingSpec, size: tuple[int, int]) -> Stages:
    """From the number of an image to a `_TrainItem` of this size, flipped."""

    def decode(index: int) -> tuple[int, Any]:
        return index, dataset.image(index)

    def rasterise(found: tuple[int, Any]) -> tuple[int, Sample]:
        index, image = found
        objects = dataset.objects(index)
        return index, Sample(image, objects.boxes, objects.labels, objects.each_mask)

    def resized(found: tuple[int, Sample]) -> tuple[int, Sample]:
        return found[0], resize(found[1], size, spec)

    def flip(found: tuple[int, Sample]) -> _TrainItem:
        index, sample = found
        return _TrainItem(flip_horizontal(sample), dataset.sizes[index], dataset.image_ids[index])

    return {"decode": decode, "polygons": rasterise, "resize": resized, "flip": flip}


def our_collate(items: Sequence[_TrainItem], spec: PreprocessingSpec) -> Batch:
    """The batch as the loader makes it."""
    batch = _TrainCollate(spec.side_multiple)(items)
    assert isinstance(batch, Batch)
    return batch


def their_stages(coco: COCO, dataset: CocoDataset) -> Stages:
    """From the number of an image to torchvision's (image, target), flipped, not resized."""

    def decode(index: int) -> tuple[int, Image.Image]:
        return index, Image.open(dataset.image_folder / dataset[index].file_name).convert("RGB")

    def rasterise(found: tuple[int, Image.Image]) -> tuple[Image.Image, dict[str, Tensor]]:
        index, image = found
        return image, _their_target(coco, dataset.image_ids[index], image.height, image.width)

    def flip(found: tuple[Image.Image, dict[str, Tensor]]) -> tuple[Image.Image, dict[str, Tensor]]:
        image, target = found
        boxes = target["boxes"].clone()
        boxes[:, [0, 2]] = image.width - target["boxes"][:, [2, 0]]
        return functional.hflip(image), {**target, "boxes": boxes, "masks": target["masks"].flip(-1)}

    def to_tensor(found: tuple[Image.Image, dict[str, Tensor]]) -> tuple[Tensor, dict[str, Tensor]]:
        image, target = found
        return functional.to_dtype(functional.pil_to_tensor(image), torch.float32, scale=True), target

    return {"decode": decode, "polygons": rasterise, "flip": flip, "to tensor": to_tensor}


def their_transform(spec: PreprocessingSpec) -> GeneralizedRCNNTransform:
    """What torchvision's network does to a list of images and targets before anything else."""
    mean, std = ([value / 255 for value in values] for values in (spec.mean, spec.std))
    return GeneralizedRCNNTransform(spec.shorter_side_px, spec.longer_side_px, mean, std)


def _their_target(coco: COCO, image_id: int, height: int, width: int) -> dict[str, Tensor]:
    """Boxes, labels and whole masks of the objects that are no crowd."""
    objects = [entry for entry in coco.loadAnns(coco.getAnnIds(imgIds=[image_id])) if entry["iscrowd"] == 0]
    boxes = torch.tensor([entry["bbox"] for entry in objects], dtype=torch.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    boxes[:, 0::2].clamp_(min=0, max=width)
    boxes[:, 1::2].clamp_(min=0, max=height)
    masks = [_their_mask(entry["segmentation"], height, width) for entry in objects]
    labels = torch.tensor([entry["category_id"] for entry in objects])
    kept = (boxes[:, 3] > boxes[:, 1]) & (boxes[:, 2] > boxes[:, 0])
    whole = torch.stack(masks) if masks else torch.zeros((0, height, width), dtype=torch.uint8)
    return {"boxes": boxes[kept], "labels": labels[kept], "masks": whole[kept]}


def _their_mask(polygons: list[list[float]], height: int, width: int) -> Tensor:
    parts = coco_mask.decode(coco_mask.frPyObjects(polygons, height, width))
    return torch.as_tensor(np.asarray(parts), dtype=torch.uint8).any(dim=2)
