"""Keypoints from the file to the targets of a batch: pixel convention, flips, sizes, what is refused."""

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from maskline_train.data.coco import CocoDataset
from maskline_train.data.errors import DataError
from maskline_train.data.loader import Batch, train_loader
from maskline_train.data.transforms import Augmentation, Sample, augment, flip_horizontal, resize
from maskline_train.spec import KeypointHeadSpec, PreprocessingSpec
from support.data import coco_files
from support.data.batches import targets_of
from support.data.coco_files import annotation
from support.data.mask_crops import crops_of

NAMES = ["nose", "left hand", "right hand"]
HEAD = KeypointHeadSpec(names=tuple(NAMES), flip_pairs=(("left hand", "right hand"),))
SPEC = PreprocessingSpec(shorter_side_px=coco_files.HEIGHT, longer_side_px=64)
PERSON = {"id": 3, "name": "person", "keypoints": NAMES, "skeleton": [[1, 2], [1, 3]]}
NO_CHANGE = Augmentation(flip_probability=0.0)


def person(key: int, keypoints: list[float] | None, **changes: object) -> dict:
    """An annotation with these keypoints; None: without any."""
    extra = {} if keypoints is None else {"keypoints": keypoints, "num_keypoints": 0}  # the count is not believed
    return annotation(key, **extra, **changes)


def write(root: Path, annotations: list[dict], categories: list[dict] | None = None) -> Path:
    file = coco_files.write(root, categories=categories or [PERSON], annotations=annotations)
    return file.rename(file.with_name("person_keypoints_train.json"))


def read(root: Path) -> CocoDataset:
    return CocoDataset(root, "train", annotations="person_keypoints")


def first_batch(dataset: CocoDataset, augmentation: Augmentation = NO_CHANGE, **options: object) -> Batch:
    options = {"batch_size": 1, "seed": 0, "keypoint_head": HEAD} | options
    return next(train_loader(dataset, SPEC, augmentation=augmentation, **options))  # type: ignore[arg-type]


def test_pixel_indices_become_pixel_centres_and_what_is_not_labelled_zero(tmp_path: Path) -> None:
    write(tmp_path, [person(1, [4, 5, 2, 9, 10, 1, 7, 7, 0]), person(2, None)])
    dataset = read(tmp_path)
    assert dataset.keypoint_names == tuple(NAMES)
    keypoints = dataset.objects(0).keypoints
    assert keypoints is not None
    assert keypoints.tolist() == [[[4.5, 5.5, 2], [9.5, 10.5, 1], [0, 0, 0]], [[0, 0, 0]] * 3]
    assert keypoints.dtype == np.float32
    nothing = dataset.objects(1).keypoints
    assert nothing is not None
    assert nothing.shape == (0, 3, 3)


def test_a_data_set_without_keypoints_has_none(tmp_path: Path) -> None:
    coco_files.write(tmp_path, annotations=[person(1, [1, 2, 3])])  # no category names them: not looked at
    dataset = CocoDataset(tmp_path, "train")
    assert dataset.keypoint_names == ()
    assert dataset.objects(0).keypoints is None
    assert dataset.has_keypoints == (False, False)
    assert "keypoints" not in dataset.coco_api().dataset["annotations"][0]


def test_the_metric_sees_the_files_own_numbers_and_their_count(tmp_path: Path) -> None:
    write(tmp_path, [person(1, [4, 5, 2, 9, 10, 1, 0, 0, 0]), person(2, None)])
    found = read(tmp_path).coco_api().dataset["annotations"]
    assert [a["keypoints"] for a in found] == [[4, 5, 2, 9, 10, 1, 0, 0, 0], [0] * 9]
    assert [a["num_keypoints"] for a in found] == [2, 0]


@pytest.mark.parametrize(
    ("keypoints", "words"),
    [
        ([1, 2], r"got keypoints \[1, 2\], expected 9 numbers: x, y and visibility of each of 3"),
        ([1, 2, 2, 1, 2, 2, 1, 2, 3], r"got the visibilities \[2, 2, 3\], expected 0, 1 or 2"),
        ([1, 2, 2, 1, 2, 2, 1, "a", 0], "expected 9 numbers"),
        ([1, 2, 2, 1, 2, 2, 1, float("nan"), 0], "expected 9 numbers"),
        ("none", "expected 9 numbers"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, keypoints: list, words: str) -> None:
    write(tmp_path, [person(7, keypoints)])
    with pytest.raises(DataError, match=rf"person_keypoints_train\.json: annotations\[0\] \(id 7\): .*{words}"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("categories", "words"),
    [
        ([{"id": 3, "name": "person", "keypoints": ["a", "a"]}], "expected a list of names, each once"),
        ([{"id": 3, "name": "person", "keypoints": "nose"}], "expected a list of names, each once"),
        ([PERSON, {"id": 4, "name": "dog", "keypoints": ["tail"]}], "a model has one set of keypoints"),
    ],
)
def test_categories_name_one_set_of_keypoints(tmp_path: Path, categories: list[dict], words: str) -> None:
    write(tmp_path, [], categories)
    with pytest.raises(DataError, match=words):
        read(tmp_path)


def test_a_file_of_another_kind_is_pointed_out(tmp_path: Path) -> None:
    write(tmp_path, [])
    with pytest.raises(DataError, match=r"there: none \(for person_keypoints_train see --annotations\)"):
        CocoDataset(tmp_path, "train")


def test_a_batch_carries_keypoints_in_canvas_pixels(tmp_path: Path) -> None:
    """The image of 20 x 30 px is shown at twice its size: pixel 4's centre, 4.5, lies at 9."""
    write(tmp_path, [person(1, [4, 5, 2, 9, 10, 1, 0, 0, 0])])
    batch = first_batch(read(tmp_path), dataclasses.replace(NO_CHANGE, shorter_side_px=(40, 40)))
    (target,) = targets_of(batch)
    assert target.keypoints is not None
    assert target.keypoints.tolist() == [[[9, 11, 2], [19, 21, 1], [0, 0, 0]]]
    assert target.keypoints.dtype == torch.float32
    moved = targets_of(batch.to("cpu"))[0].keypoints
    assert moved is not None
    assert torch.equal(moved, target.keypoints)


def test_a_mirrored_left_hand_is_a_right_hand_through_the_real_loader(tmp_path: Path) -> None:
    """In an image 30 px wide, x = 9.5 becomes 20.5; the nose stays the nose."""
    write(tmp_path, [person(1, [4, 5, 2, 9, 10, 2, 0, 0, 0])])
    keypoints = targets_of(first_batch(read(tmp_path), Augmentation(flip_probability=1.0)))[0].keypoints
    assert keypoints is not None
    assert keypoints.tolist() == [[[25.5, 5.5, 2], [0, 0, 0], [20.5, 10.5, 2]]]


@given(st.integers(0, 2**32), st.integers(0, 4))
@settings(max_examples=40, deadline=None)
def test_a_flip_moves_keypoints_with_the_picture_and_undoes_itself(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    image = np.zeros((20, 30, 3), np.uint8)
    keypoints = np.zeros((count, 3, 3), np.float32)
    for i, j in itertools.product(range(count), range(3)):
        y, x = rng.integers(20), rng.integers(30)
        image[y, x] = 50 + 3 * i + j
        keypoints[i, j] = x + 0.5, y + 0.5, 2
    masks = crops_of(np.ones((count, 20, 30), np.uint8))
    sample = Sample(image, np.zeros((count, 4), np.float32), np.arange(count), masks, keypoints)
    flipped = flip_horizontal(sample, HEAD.flip_order)
    assert flipped.keypoints is not None
    for before, after in zip(keypoints, flipped.keypoints[:, [0, 2, 1]], strict=True):
        for (x, y, _), (to_x, to_y, _) in zip(before.astype(int), after.astype(int), strict=True):
            assert image[y, x, 0] == flipped.image[to_y, to_x, 0]
    twice = flip_horizontal(flipped, HEAD.flip_order)
    assert twice.keypoints is not None
    assert np.array_equal(twice.keypoints, keypoints)
    assert np.array_equal(sample.keypoints, keypoints)  # the sample itself is left as it was


def test_resizing_scales_each_axis_and_drops_keypoints_with_their_object() -> None:
    masks = np.zeros((2, 40, 40), np.uint8)
    masks[0, 10:30, 10:30] = 1
    masks[1, 0, 0] = 1  # between the pixel centres that are kept
    keypoints = np.array([[[10, 20, 2]], [[0.5, 0.5, 2]]], np.float32)
    boxes = np.array([[10, 10, 30, 30], [0, 0, 1, 1]], np.float32)
    sample = Sample(np.zeros((40, 40, 3), np.uint8), boxes, np.array([5, 6]), crops_of(masks), keypoints)
    out = resize(sample, (10, 20), SPEC)
    assert out.labels.tolist() == [5]
    assert out.keypoints is not None
    assert out.keypoints.tolist() == [[[5, 5, 2]]]
    assert out.keypoints.dtype == np.float32


def test_keypoints_change_no_draw_of_the_augmentation() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    masks = crops_of(np.zeros((0, 20, 30), np.uint8))
    plain = Sample(image, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), masks)
    pointed = dataclasses.replace(plain, keypoints=np.zeros((0, 3, 3), np.float32))
    for seed in range(6):
        one = augment(plain, Augmentation(), SPEC, np.random.default_rng(seed))
        two = augment(pointed, Augmentation(), SPEC, np.random.default_rng(seed), HEAD.flip_order)
        assert np.array_equal(one.image, two.image)


def test_images_without_a_labelled_keypoint_are_left_out(tmp_path: Path) -> None:
    """Paper, section 5: "all images that contain annotated keypoints"; objects without any stay in theirs."""
    write(tmp_path, [person(1, [4, 5, 0] * 3), person(2, None), person(3, [4, 5, 1] * 3, image_id=20)])
    dataset = read(tmp_path)
    assert dataset.usable == (True, True)
    assert dataset.has_keypoints == (False, True)
    batches = itertools.islice(train_loader(dataset, SPEC, batch_size=1, seed=0, augmentation=NO_CHANGE), 6)
    assert {batch.image_ids for batch in batches} == {(10,), (20,)}  # a model without keypoints sees all
    batches = itertools.islice(
        train_loader(dataset, SPEC, batch_size=1, seed=0, augmentation=NO_CHANGE, keypoint_head=HEAD), 4
    )
    assert {batch.image_ids for batch in batches} == {(20,)}


def test_a_model_without_keypoints_gets_none(tmp_path: Path) -> None:
    write(tmp_path, [person(1, [4, 5, 2] * 3)])
    assert targets_of(first_batch(read(tmp_path), keypoint_head=None))[0].keypoints is None


def test_other_keypoints_than_the_models_are_refused(tmp_path: Path) -> None:
    write(tmp_path, [person(1, [4, 5, 2] * 3)])
    with pytest.raises(DataError, match="got keypoints nose, left hand, right hand, expected the model's keypoints t"):
        first_batch(read(tmp_path), keypoint_head=KeypointHeadSpec(names=("tip",)))
    coco_files.write(tmp_path)
    with pytest.raises(DataError, match="got no keypoints, expected the model's keypoints nose"):
        first_batch(CocoDataset(tmp_path, "train"))


def test_nothing_labelled_at_all_is_said(tmp_path: Path) -> None:
    file = write(tmp_path, [person(1, [4, 5, 0] * 3)])
    assert json.loads(file.read_text())["annotations"]
    with pytest.raises(DataError, match="none of 2 images has a keypoint to train on"):
        first_batch(read(tmp_path))
