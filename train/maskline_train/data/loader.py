"""Batches for training and evaluation.

Letters: B images, G objects, H W canvas.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from maskline_train.data.canvas import image_info, preprocess_batch, rounded_up
from maskline_train.data.coco import CocoDataset
from maskline_train.data.errors import DataError
from maskline_train.data.images import Pixels
from maskline_train.data.resizing import Size
from maskline_train.data.sampler import Draw, TrainSampler, item_rng
from maskline_train.data.transforms import Augmentation, Sample, augment
from maskline_train.ground_truth import GroundTruth, collated
from maskline_train.spec import KeypointHeadSpec, PreprocessingSpec

UNREADABLE = (DataError, OSError)  # what an image file can do to its reader
Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class Batch:
    """What one step reads.

    Attributes:
        canvas: [B, H, W, 3] uint8 RGB, zeros at the right and bottom.
        image_info: [B, 6] float32, see `docs/architecture.md`, Preprocessing.
        truth: of the B images; None in evaluation.
        image_ids: the json's ids, one an image.
    """

    canvas: Tensor
    image_info: Tensor
    truth: GroundTruth | None
    image_ids: tuple[int, ...]

    def to(self, device: torch.device | str) -> Batch:
        """The batch on `device`; the copy overlaps with computing when the memory is pinned."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory (`DataLoader` calls this)."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        truth = None if self.truth is None else self.truth.map(change)
        return Batch(change(self.canvas), change(self.image_info), truth, self.image_ids)


def train_loader(
    dataset: CocoDataset,
    spec: PreprocessingSpec,
    *,
    batch_size: int,
    seed: int,
    augmentation: Augmentation,
    keypoint_head: KeypointHeadSpec | None = None,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
    start_batch: int = 0,
    keep_empty: bool = False,
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """Endless training batches, the same for any number of workers; `start_batch` resumes exactly.

    Args:
        dataset: the training split.
        spec: sizes; a list of canvases plays no part, a batch is padded to its largest image and a multiple of
            `side_multiple`.
        batch_size: images a process.
        seed: of the order and of the augmentation.
        augmentation: what is drawn for each image.
        keypoint_head: of the model; then targets have keypoints, and images without a labelled one are left out
            (paper, section 5: "images that contain annotated keypoints").
        workers: loader processes; 0 loads in this one.
        rank: of this process among `world_size`.
        world_size: processes that share each global batch.
        start_batch: the number of batches drawn before.
        keep_empty: also show images without a usable object.
        pin_memory: for copies to a GPU.

    Raises:
        DataError: no image to show, or other keypoints than the model's.
    """
    if keypoint_head is not None:
        check_keypoints(dataset, keypoint_head)
    indices = shown_images(dataset, keypoint_head, keep_empty=keep_empty)
    if not indices:
        what = "an object" if keypoint_head is None else "a keypoint"
        raise DataError(
            f"{dataset.annotation_file}: none of {len(dataset)} images has {what} to train on; {dataset.describe()}"
        )
    groups = [int(dataset.sizes[index][0] > dataset.sizes[index][1]) for index in indices]
    sampler = TrainSampler(indices, groups, batch_size, seed, rank, world_size, start_batch)
    return iter(
        Batches(
            DataLoader(
                _TrainItems(dataset, spec, augmentation, seed, keypoint_head),
                batch_sampler=sampler,
                collate_fn=_TrainCollate(spec.side_multiple),
                **_worker_options(workers, pin_memory),
            )
        )
    )


def shown_images(dataset: CocoDataset, keypoint_head: KeypointHeadSpec | None, *, keep_empty: bool) -> list[int]:
    """The indices of the images that training draws from; arguments as of `train_loader`."""
    shown = dataset.usable if keypoint_head is None else dataset.has_keypoints
    return [index for index in range(len(dataset)) if keep_empty or shown[index]]


def check_keypoints(dataset: CocoDataset, keypoint_head: KeypointHeadSpec) -> None:
    """Raise DataError where a data set has other keypoints than a model."""
    if dataset.keypoint_names != keypoint_head.names:
        raise DataError(
            f"{dataset.annotation_file}: got {_named(dataset.keypoint_names)}, expected the model's "
            f"{_named(keypoint_head.names)}; files with keypoints are read with --annotations person_keypoints"
        )


def _named(keypoints: Sequence[str]) -> str:
    return f"keypoints {', '.join(keypoints)}" if keypoints else "no keypoints"


def eval_loader(
    dataset: CocoDataset,
    spec: PreprocessingSpec,
    *,
    batch_size: int,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
    pin_memory: bool = False,
) -> Batches:
    """All images once, in id order, prepared exactly as the server does; no targets.

    Images that have a canvas of their own size (`canvas_multiple`) come one a batch, whatever `batch_size` says: on a
    shared canvas each would be padded by the others, and its answer would no longer be that of a request of its own.

    Process `rank` of `world_size` takes each `world_size`-th image. `len` is the number of batches; a process may
    have none.
    """
    indices = range(rank, len(dataset), world_size)
    batch_size = batch_size if spec.canvas_multiple is None else 1
    batches = [list(indices[start : start + batch_size]) for start in range(0, len(indices), batch_size)]
    return Batches(
        DataLoader(
            _EvalItems(dataset),
            batch_sampler=batches,
            collate_fn=_EvalCollate(spec),
            **_worker_options(workers, pin_memory),
        )
    )


class Batches:
    """The batches of a loader. What went wrong in a worker is raised here as it was there.

    `DataLoader` itself raises an error whose text is the worker's traceback, 30 lines with the file's name among them;
    therefore an item that cannot be read travels as its error, in the batch's place.
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._loader = loader

    def __len__(self) -> int:
        """The number of batches."""
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        """The batches; raises DataError or OSError where an image cannot be read."""
        for batch in self._loader:
            if isinstance(batch, Exception):
                raise batch
            yield batch


@dataclasses.dataclass(frozen=True)
class _TrainItem:
    sample: Sample
    original: Size
    image_id: int


@dataclasses.dataclass(frozen=True)
class _TrainItems(Dataset[_TrainItem | Exception]):
    dataset: CocoDataset
    spec: PreprocessingSpec
    augmentation: Augmentation
    seed: int
    keypoint_head: KeypointHeadSpec | None

    def __getitem__(self, draw: Draw) -> _TrainItem | Exception:
        try:
            return self._item(draw)
        except UNREADABLE as error:
            return error

    def _item(self, draw: Draw) -> _TrainItem:
        image, objects = self.dataset.image(draw.index), self.dataset.objects(draw.index)
        head, rng = self.keypoint_head, item_rng(self.seed, draw)
        keypoints = None if head is None else objects.keypoints
        sample = Sample(image, objects.boxes, objects.labels, objects.each_mask, keypoints)
        sample = augment(sample, self.augmentation, self.spec, rng, () if head is None else head.flip_order)
        original = self.dataset.sizes[draw.index]
        return _TrainItem(sample, original, self.dataset.image_ids[draw.index])


@dataclasses.dataclass(frozen=True)
class _EvalItems(Dataset[tuple[Pixels, int] | Exception]):
    dataset: CocoDataset

    def __getitem__(self, index: int) -> tuple[Pixels, int] | Exception:
        try:
            return self.dataset.image(index), self.dataset.image_ids[index]
        except UNREADABLE as error:
            return error


@dataclasses.dataclass(frozen=True)
class _EvalCollate:
    spec: PreprocessingSpec

    def __call__(self, items: Sequence[tuple[Pixels, int] | Exception]) -> Batch | Exception:
        good, errors = _parted(items)
        if errors:
            return errors[0]
        canvas, info = preprocess_batch([image for image, _ in good], self.spec)
        return Batch(torch.from_numpy(canvas), torch.from_numpy(info), None, tuple(key for _, key in good))


def _parted(items: Sequence[Item | Exception]) -> tuple[list[Item], list[Exception]]:
    """What was read, and what went wrong."""
    good = [item for item in items if not isinstance(item, Exception)]
    return good, [item for item in items if isinstance(item, Exception)]


@dataclasses.dataclass(frozen=True)
class _TrainCollate:
    multiple: int

    def __call__(self, items: Sequence[_TrainItem | Exception]) -> Batch | Exception:
        good, errors = _parted(items)
        return errors[0] if errors else _batch(good, self.multiple)


def _batch(items: Sequence[_TrainItem], multiple: int) -> Batch:
    sizes = [(item.sample.image.shape[0], item.sample.image.shape[1]) for item in items]
    shared = rounded_up(sizes, multiple)
    canvas = np.zeros((len(items), *shared, 3), np.uint8)
    for row, item, (height, width) in zip(canvas, items, sizes, strict=True):
        row[:height, :width] = item.sample.image
    infos = np.stack([image_info(size, item.original) for size, item in zip(sizes, items, strict=True)])
    truth = _truth([item.sample for item in items], shared)
    return Batch(torch.from_numpy(canvas), torch.from_numpy(infos), truth, tuple(item.image_id for item in items))


def _truth(samples: Sequence[Sample], canvas: Size) -> GroundTruth:
    masks = [sample.crops() for sample in samples]
    keypoints = [None if sample.keypoints is None else torch.from_numpy(sample.keypoints) for sample in samples]
    boxes = [torch.from_numpy(sample.boxes) for sample in samples]
    labels = [torch.from_numpy(sample.labels) for sample in samples]
    return collated(boxes, labels, masks, canvas, keypoints)


def _worker_options(workers: int, pin_memory: bool) -> dict[str, Any]:
    """Loader options; its own generator keeps torch's global random state untouched, which exact resume needs."""
    return {
        "num_workers": workers,
        "pin_memory": pin_memory,
        "generator": torch.Generator().manual_seed(0),
        "worker_init_fn": _one_thread if workers else None,
    }


def _one_thread(_worker: int) -> None:
    """Loader processes share the machine: one thread each."""
    torch.set_num_threads(1)
