"""The order of training is one whole number long: exact resume, any number of workers and processes."""

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from maskline_train.data.canvas import preprocess_batch
from maskline_train.data.coco import CocoDataset
from maskline_train.data.errors import DataError
from maskline_train.data.images import decode_image
from maskline_train.data.loader import Batch, eval_loader, train_loader
from maskline_train.data.sampler import Draw, TrainSampler, item_rng
from maskline_train.data.transforms import Augmentation
from maskline_train.spec import PreprocessingSpec
from PIL import Image
from support.data.batches import targets_of
from support.data.coco_files import annotation, square, write

SPEC = PreprocessingSpec(shorter_side_px=40, longer_side_px=80, canvases=((64, 96), (96, 64)))
JITTER = Augmentation(shorter_side_px=(32, 48), colour_strength=0.2)
NUM_IMAGES = 9


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> CocoDataset:
    """Nine images of noise, portrait and landscape; image 8 has no object."""
    root: Path = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for i in range(NUM_IMAGES):
        height, width = (20, 30) if i % 3 else (30, 20)
        images.append({"id": 100 - i, "file_name": f"{i}.png", "height": height, "width": width})
        if i != 8:
            corner = float(i % 4)
            annotations.append(annotation(i, 100 - i, bbox=[corner, 5, 6, 6], segmentation=square(corner, 5, 6)))
    write(root, images=images, annotations=annotations)
    for image in images:
        noise = rng.integers(0, 256, (image["height"], image["width"], 3), np.uint8)
        Image.fromarray(noise).save(root / "train" / image["file_name"])
    return CocoDataset(root, "train")


def take(dataset: CocoDataset, number: int, **options: object) -> list[Batch]:
    defaults = {"batch_size": 2, "seed": 3, "augmentation": JITTER}
    return list(itertools.islice(train_loader(dataset, SPEC, **(defaults | options)), number))


def assert_same(one: Batch, two: Batch) -> None:
    assert one.image_ids == two.image_ids
    assert torch.equal(one.canvas, two.canvas)
    assert torch.equal(one.image_info, two.image_info)
    for a, b in zip(targets_of(one), targets_of(two), strict=True):
        assert torch.equal(a.boxes, b.boxes)
        assert torch.equal(a.labels, b.labels)
        assert torch.equal(a.masks, b.masks)


def test_a_batch_keeps_the_contract(dataset):
    for batch in take(dataset, 12):
        count, height, width, channels = batch.canvas.shape
        assert (count, channels) == (2, 3)
        assert batch.canvas.dtype == torch.uint8
        assert height % 32 == 0
        assert width % 32 == 0
        assert batch.image_info.dtype == torch.float32
        for info, target, canvas in zip(batch.image_info.tolist(), targets_of(batch), batch.canvas, strict=True):
            resized_h, resized_w, scale_y, scale_x, original_h, original_w = info
            assert {original_h, original_w} == {20, 30}
            assert scale_y == pytest.approx(resized_h / original_h)
            assert scale_x == pytest.approx(resized_w / original_w)
            assert not canvas[int(resized_h) :].any()
            assert not canvas[:, int(resized_w) :].any()
            assert target.boxes.dtype == torch.float32
            assert target.labels.dtype == torch.int64
            assert target.masks.dtype == torch.uint8
            assert target.masks.shape == (1, height, width)
            x0, y0, x1, y1 = target.boxes[0].tolist()
            assert y1 - y0 == pytest.approx(6 * scale_y, abs=1e-4)
            rows, columns = torch.where(target.masks[0] > 0)
            edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert [int(e) for e in edges] == pytest.approx([x0, y0, x1, y1], abs=1)  # one canvas pixel
    portrait = [{info[4] > info[5] for info in batch.image_info.tolist()} for batch in take(dataset, 12)]
    assert all(len(kinds) == 1 for kinds in portrait)  # one orientation a batch


def test_resume_at_any_step_goes_on_exactly(dataset):
    whole = take(dataset, 14)
    for start in (1, 5, 13):
        for one, two in zip(whole[start:], take(dataset, 14 - start, start_batch=start), strict=True):
            assert_same(one, two)


def test_workers_change_nothing_and_torchs_random_state_is_left_alone(dataset):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    alone = take(dataset, 6)
    for one, two in zip(alone, take(dataset, 6, workers=2), strict=True):
        assert_same(one, two)
    assert torch.equal(state, torch.get_rng_state())


def test_two_processes_draw_what_one_draws_with_twice_the_batch(dataset):
    joint = take(dataset, 8, batch_size=4)
    halves = [take(dataset, 8, batch_size=2, rank=rank, world_size=2) for rank in (0, 1)]
    for whole, first, second in zip(joint, *halves, strict=True):
        assert whole.image_ids == first.image_ids + second.image_ids
        targets = targets_of(first) + targets_of(second)
        for a, b in zip(targets_of(whole), targets, strict=True):
            assert torch.equal(a.boxes, b.boxes)


def test_another_seed_is_another_order(dataset):
    one, two = (tuple(b.image_ids for b in take(dataset, 8, seed=seed)) for seed in (1, 2))
    assert one != two


def test_images_without_objects_are_left_out_unless_asked(dataset):
    seen = {key for batch in take(dataset, 20) for key in batch.image_ids}
    assert seen == {100 - i for i in range(8)}
    batches = take(dataset, 20, keep_empty=True)
    assert {key for batch in batches for key in batch.image_ids} == {100 - i for i in range(NUM_IMAGES)}
    empty = next(t for b in batches for t, key in zip(targets_of(b), b.image_ids, strict=True) if key == 92)
    assert empty.boxes.shape == (0, 4)
    assert empty.masks.shape[0] == 0


def test_nothing_to_train_on_is_said(tmp_path):
    write(tmp_path, annotations=[annotation(1, iscrowd=1)])
    with pytest.raises(DataError, match=r"none of 2 images has an object.*1 crowd regions"):
        train_loader(CocoDataset(tmp_path, "train"), SPEC, batch_size=1, seed=0, augmentation=JITTER)


@pytest.mark.parametrize(("size", "world_size"), [(1, 1), (3, 1), (2, 2), (40, 1)])  # 40: more than there is
def test_each_epoch_shows_each_image_once(size, world_size):
    indices = list(range(5, 22))
    groups = [i % 2 for i in indices]
    ranks = [iter(TrainSampler(indices, groups, size, 0, rank, world_size)) for rank in range(world_size)]
    draws = [draw for _ in range(60) for rank in ranks for draw in next(rank)]
    assert len(draws) == 60 * size * world_size
    last = max(draw.epoch for draw in draws)
    counts = Counter(draws)
    assert set(counts.values()) == {1}
    complete = [epoch for epoch in range(last) if sum(d.epoch == epoch for d in draws) == len(indices)]
    # all but the epochs that are still open, of which a batch of 40 of 8 or 9 images spans five more
    assert len(complete) >= last - 1 - size * world_size // 8
    orders = {tuple(d.index for d in draws if d.epoch == epoch) for epoch in complete}
    assert len(orders) == len(complete)


def test_augmentation_streams_differ_between_images_and_epochs():
    numbers = {item_rng(0, Draw(e, i)).random() for e in range(10) for i in range(10)}
    assert len(numbers) == 100


@pytest.mark.parametrize(
    "options",
    [
        {"indices": [], "groups": []},
        {"batch_size": 0},
        {"rank": 2, "world_size": 2},
        {"start_batch": -1},
        {"groups": [0]},
    ],
)
def test_a_sampler_that_could_not_run_is_refused(options):
    with pytest.raises(ValueError, match="expected"):
        TrainSampler(**({"indices": [1, 2], "groups": [0, 0], "batch_size": 1, "seed": 0} | options))


def test_evaluation_is_every_image_in_id_order_as_the_server_sees_it(dataset):
    loader = eval_loader(dataset, SPEC, batch_size=4)
    batches = list(loader)
    assert len(loader) == len(batches) == 3
    assert [key for batch in batches for key in batch.image_ids] == list(range(92, 101))
    first = batches[0]
    assert targets_of(first) == ()
    images = [decode_image(dataset.image_folder / dataset[i].file_name) for i in range(4)]
    canvas, info = preprocess_batch(images, SPEC)
    assert np.array_equal(first.canvas.numpy(), canvas)
    assert np.array_equal(first.image_info.numpy(), info)


def test_processes_share_the_evaluation(dataset):
    parts = [
        [key for batch in eval_loader(dataset, SPEC, batch_size=2, rank=rank, world_size=2) for key in batch.image_ids]
        for rank in (0, 1)
    ]
    assert sorted(parts[0] + parts[1]) == list(range(92, 101))
    assert not set(parts[0]) & set(parts[1])
    assert list(eval_loader(dataset, SPEC, batch_size=2, rank=20, world_size=21)) == []


def test_a_batch_moves_with_its_targets(dataset):
    moved = take(dataset, 1)[0].to("meta")
    assert moved.canvas.device.type == "meta"
    assert {column.device.type for column in moved.truth if column is not None} == {"meta"}
