"""The digits set: reproducible to the byte, true to its masks, and honest about what validation may show."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from maskline_train.data.coco import CocoDataset
from maskline_train.data.errors import DataError
from maskline_train.data.made import digits, scenes
from maskline_train.data.made.digits import CLASSES, make_digits
from maskline_train.data.made.ink import MIN_CONTRAST, draw_glyph, ink_colour
from PIL import Image

NUM_TRAIN, NUM_VAL = 40, 30


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("digits") / "set"
    make_digits(out, train_images=NUM_TRAIN, val_images=NUM_VAL)
    return out


def fingerprints(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_two_runs_give_the_same_bytes_and_another_seed_others(tmp_path):
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        make_digits(tmp_path / name, seed=seed, train_images=4, val_images=3)
    one, two, three = (fingerprints(tmp_path / name) for name in ("one", "two", "three"))
    assert len(one) == 4 + 3 + 2 + len(digits.SCENE_PHOTOGRAPHS)
    assert one == two
    assert one.keys() == three.keys()
    assert not set(one.values()) & set(three.values())


def test_more_images_leave_the_first_ones_as_they_are(tmp_path, root):
    make_digits(tmp_path / "few", train_images=3, val_images=1)
    few, many = fingerprints(tmp_path / "few"), fingerprints(root)
    same = [name for name in few if name.endswith(".jpg")]
    assert same
    assert all(few[name] == many[name] for name in same)


@pytest.mark.parametrize(("split", "count"), [("train", NUM_TRAIN), ("val", NUM_VAL)])
def test_a_split_is_a_clean_coco_set(root, split, count):
    dataset = CocoDataset(root, split)
    dataset.check_headers()
    assert len(dataset) == count
    assert dataset.classes == CLASSES
    assert dataset.unused == {}
    per_image = [len(record.annotations) for record in dataset]
    assert max(per_image) <= digits.MAX_DIGITS
    assert np.mean(per_image) > 3
    sizes = np.array(dataset.sizes)
    assert sizes.min() >= scenes.SHORTER_SIDE_PX[0]
    assert sizes.max() == scenes.LONGER_SIDE_PX
    assert {height > width for height, width in dataset.sizes} == {True, False}
    for index, record in enumerate(dataset):
        objects = dataset.objects(index)
        assert (objects.masks.sum(axis=0) <= 1).all()  # modal: a pixel shows one digit
        for annotation, box, mask in zip(record.annotations, objects.boxes, objects.masks, strict=True):
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            assert box.tolist() == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            assert annotation.area_px == mask.sum()


def test_rle_is_compressed_text_and_nothing_is_a_crowd(root):
    data = json.loads((root / "annotations" / "instances_val.json").read_text())
    assert all(a["iscrowd"] == 0 and isinstance(a["segmentation"]["counts"], str) for a in data["annotations"])
    assert [a["id"] for a in data["annotations"]] == list(range(1, len(data["annotations"]) + 1))


def test_all_classes_and_empty_images_occur(tmp_path):
    make_digits(tmp_path / "set", train_images=90, val_images=1, seed=1)
    dataset = CocoDataset(tmp_path / "set", "train")
    labels = [a.label for record in dataset for a in record.annotations]
    assert set(labels) == set(range(10))
    assert 0 < dataset.usable.count(False) <= 12  # about 3 in 100 are drawn empty


def test_validation_shares_no_scan_and_no_photograph_with_training():
    assert not set(scenes.TRAIN_PHOTOGRAPHS) & set(scenes.VAL_PHOTOGRAPHS)
    assert not any(name.startswith("motorcycle") for name in scenes.VAL_PHOTOGRAPHS)  # left and right are one scene
    train, val = digits._source("train"), digits._source("val")
    seen = {scan.tobytes() for scan in train.scans}
    assert len(train.scans) + len(val.scans) == 1797
    assert not any(scan.tobytes() in seen for scan in val.scans)
    assert set(val.labels.tolist()) == set(range(10))


def test_a_digit_keeps_most_of_its_pixels_in_sight():
    source = digits._source("val")
    for i in range(15):
        scene = digits._draw(source, np.random.default_rng(i), (200, 256), 8, digits._Style())
        for mask, whole in zip(scene.masks, scene.wholes, strict=True):
            assert whole >= digits.MIN_AREA_PX
            assert mask.sum() >= digits._Style().min_visible * whole


def test_every_painted_pixel_is_annotated():
    source = digits._source("train")
    rng = np.random.default_rng(8)
    scene = digits._draw(source, np.random.default_rng(8), (220, 256), 8, digits._Style())
    photograph = source.photographs[int(rng.integers(len(source.photographs)))]
    plain = scenes.crop_photograph(photograph, (220, 256), rng)
    change = np.abs(scene.image.astype(int) - plain).max(axis=2)
    inside = np.any(scene.masks, axis=0)
    grown = inside
    for shift in range(1, 7):  # ink fades out over a few pixels beyond the half-covered edge
        for axis in (0, 1):
            grown = grown | np.roll(inside, shift, axis) | np.roll(inside, -shift, axis)
    assert inside.sum() > 500
    assert (change[inside] > 0).mean() > 0.98  # a pixel may have had the ink's colour before
    assert change[~grown].max() == 0


def test_ink_is_readable_on_any_ground():
    rng = np.random.default_rng(0)
    glyph = draw_glyph(digits._source("val").scans[3], 60, 10.0)
    luma = np.array([0.299, 0.587, 0.114])
    for level in range(0, 256, 15):
        under = np.full((*glyph.alpha.shape, 3), level, np.uint8)
        assert abs(float(ink_colour(under, glyph, 0.0, rng) @ luma) - level) >= MIN_CONTRAST - 1e-3


def test_a_glyph_is_tight_smooth_and_about_the_size_asked():
    for scan in digits._source("train").scans[:40]:
        for side in (30, 100):
            glyph = draw_glyph(scan, side, 0.0)
            assert glyph.mask[[0, -1]].any(axis=1).all()
            assert glyph.mask[:, [0, -1]].any(axis=0).all()
            assert np.array_equal(glyph.mask, glyph.alpha >= 0.5)
            assert 0.75 * side < glyph.mask.shape[0] < 1.2 * side  # the scans' ink is 7 or 8 of 8 cells high
            assert ((glyph.alpha > 0) & (glyph.alpha < 1)).any()


def test_scenes_are_large_and_few(root):
    scenes = sorted((root / "scenes").iterdir())
    assert len(scenes) == len(digits.SCENE_PHOTOGRAPHS)
    for path in scenes:
        with Image.open(path) as image:
            assert image.size == (digits.SCENE_SIZE[1], digits.SCENE_SIZE[0])


def test_another_folder_is_never_touched(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "keep.txt").write_text("mine")
    with pytest.raises(DataError, match="exists already, expected a new folder"):
        make_digits(tmp_path / "mine", train_images=1, val_images=1)
    with pytest.raises(DataError, match="expected at least 1 of each"):
        make_digits(tmp_path / "new", train_images=0, val_images=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["keep.txt"]


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(digits, "_write_scenes", fail)  # the last step
    with pytest.raises(OSError, match="no space"):
        make_digits(tmp_path / "set", train_images=2, val_images=1)
    assert list(tmp_path.iterdir()) == []
