"""Masks of large images are drawn one by one: a batch costs the memory of masks of the network's size."""

import tracemalloc
from pathlib import Path

import numpy as np
from maskline_coco.segmentation import rasterise
from maskline_train.data.coco import CocoDataset
from maskline_train.data.loader import train_loader
from maskline_train.data.transforms import Augmentation
from maskline_train.spec import PreprocessingSpec
from PIL import Image
from support.data.batches import targets_of
from support.data.coco_files import annotation, square, write

SIDE, OBJECTS = 2000, 200  # 4 megapixels: all masks at once are 800 MB
SPEC = PreprocessingSpec(shorter_side_px=64, longer_side_px=64, canvases=((64, 64),))


def large(root: Path) -> CocoDataset:
    things = [annotation(i, bbox=[9 * i, 9 * i, 90, 90], segmentation=square(9 * i, 9 * i, 90)) for i in range(OBJECTS)]
    write(root, images=[{"id": 10, "file_name": "a.png", "height": SIDE, "width": SIDE}], annotations=things)
    Image.new("RGB", (SIDE, SIDE)).save(root / "train" / "a.png")
    return CocoDataset(root, "train")


def test_a_batch_of_many_objects_takes_little_memory(tmp_path: Path) -> None:
    dataset = large(tmp_path)
    tracemalloc.start()  # numpy's arrays are counted, pycocotools' masks too: it gives them to numpy
    batch = next(train_loader(dataset, SPEC, batch_size=1, seed=0, augmentation=Augmentation()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert targets_of(batch)[0].masks.shape == (OBJECTS, 64, 64)
    assert peak < 60_000_000  # the image takes 12 MB, copies of it as many, one mask 4 MB


def test_each_mask_is_the_annotations(tmp_path: Path) -> None:
    dataset = large(tmp_path)
    objects, record = dataset.objects(0), dataset[0]
    assert len(objects.each_mask) == len(objects.boxes) == OBJECTS
    for index in (0, 7, OBJECTS - 1):
        expected = rasterise(record.annotations[index].segmentation, SIDE, SIDE)
        assert np.array_equal(objects.each_mask[index], expected)
