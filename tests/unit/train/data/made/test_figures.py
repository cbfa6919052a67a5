"""The figures set: reproducible to the byte, its keypoints on the figures, left and right told apart by the body."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from maskline_train.data.coco import CocoDataset
from maskline_train.data.errors import DataError
from maskline_train.data.made import figures, write_set
from maskline_train.data.made.figures import KEYPOINTS, draw_figure, draw_scene, make_figures
from maskline_train.data.made.scenes import TRAIN_PHOTOGRAPHS, read_photograph

NUM_TRAIN, NUM_VAL = 25, 6


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("figures") / "set"
    make_figures(out, train_images=NUM_TRAIN, val_images=NUM_VAL)
    return out


def fingerprints(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_two_runs_give_the_same_bytes_and_another_seed_others(tmp_path: Path, root: Path) -> None:
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        make_figures(tmp_path / name, seed=seed, train_images=2, val_images=1)
    one, two, three = (fingerprints(tmp_path / name) for name in ("one", "two", "three"))
    assert len(one) == 2 + 1 + 2
    assert one == two
    assert one.keys() == three.keys()
    assert not set(one.values()) & set(three.values())
    make_figures(tmp_path / "few", train_images=2, val_images=1)  # more images leave the first ones as they are
    few, many = fingerprints(tmp_path / "few"), fingerprints(root)
    assert all(few[name] == many[name] for name in few if name.endswith(".jpg"))


@pytest.mark.parametrize(("split", "count"), [("train", NUM_TRAIN), ("val", NUM_VAL)])
def test_a_split_is_a_clean_coco_keypoint_set(root: Path, split: str, count: int) -> None:
    dataset = CocoDataset(root, split, annotations="person_keypoints")
    dataset.check_headers()
    assert len(dataset) == count
    assert (dataset.classes, dataset.keypoint_names, dataset.unused) == (("figure",), KEYPOINTS, {})
    for index, record in enumerate(dataset):
        objects = dataset.objects(index)
        assert (objects.masks.sum(axis=0) <= 1).all()  # modal: a pixel shows one figure
        assert len(objects.labels) == len(record.annotations) <= figures.MAX_FIGURES
        for annotation, mask in zip(record.annotations, objects.masks, strict=True):
            assert annotation.area_px == mask.sum()


def test_keypoints_are_on_their_figure_covered_by_another_or_outside(root: Path) -> None:
    dataset = CocoDataset(root, "train", annotations="person_keypoints")
    seen = {0: 0, 1: 0, 2: 0}
    for index in range(len(dataset)):
        objects = dataset.objects(index)
        assert objects.keypoints is not None
        everyone = objects.masks.any(axis=0)
        for mask, points in zip(objects.masks, objects.keypoints, strict=True):
            for x, y, visibility in points:
                seen[int(visibility)] += 1
                if visibility:
                    assert everyone[int(y), int(x)]
                    assert mask[int(y), int(x)] == (visibility == 2)
    assert min(seen.values()) > 0, "all three kinds"
    assert seen[2] > 10 * max(seen[0], seen[1])


def test_the_file_is_as_coco_writes_it(root: Path) -> None:
    data = json.loads((root / "annotations" / "person_keypoints_val.json").read_text())
    (category,) = data["categories"]
    assert category["keypoints"] == list(KEYPOINTS)
    assert {point for pair in category["skeleton"] for point in pair} == set(range(1, len(KEYPOINTS) + 1))
    for annotation in data["annotations"]:
        assert len(annotation["keypoints"]) == 3 * len(KEYPOINTS)
        assert annotation["num_keypoints"] == sum(v > 0 for v in annotation["keypoints"][2::3])


def test_left_is_at_the_right_of_the_body_whatever_the_pose() -> None:
    """Seen from the hip towards the neck, the left hand and foot lie on one side, the right ones on the other."""
    for seed in range(40):
        figure = draw_figure(100.0, np.random.default_rng(seed))
        points = dict(zip(KEYPOINTS, figure.points, strict=True))
        up = points["neck"] - points["hip"]
        for limb, start in (("hand", "neck"), ("foot", "hip")):
            limbs = [points[f"{side} {limb}"] - points[start] for side in ("left", "right")]
            sides = [up[0] * y - up[1] * x for x, y in limbs]
            assert sides[0] > 0 > sides[1]
        assert points["head"][1] < points["hip"][1]  # upright, but for a tilt
        assert abs(np.linalg.norm(up) - 100 * (figures.HIP_Y - figures.NECK_Y)) < 1e-6


def test_a_figure_is_tight_smooth_and_has_each_keypoint_in_its_ink() -> None:
    for seed in range(10):
        figure = draw_figure(80.0, np.random.default_rng(seed))
        mask = figure.glyph.mask
        assert mask[[0, -1]].any(axis=1).all()
        assert mask[:, [0, -1]].any(axis=0).all()
        assert np.array_equal(mask, figure.glyph.alpha >= 0.5)
        assert ((figure.glyph.alpha > 0) & (figure.glyph.alpha < 1)).any()
        for x, y in figure.points:
            assert mask[int(y), int(x)]


def test_figures_keep_most_of_their_pixels_in_sight() -> None:
    photographs = [read_photograph(TRAIN_PHOTOGRAPHS[0])]
    for seed in range(8):
        scene = draw_scene(photographs, np.random.default_rng(seed))
        for mask, whole in zip(scene.masks, scene.wholes, strict=True):
            assert whole >= figures.MIN_AREA_PX
            assert mask.sum() >= figures.MIN_VISIBLE * whole


def test_another_folder_is_never_touched_and_a_failure_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(DataError, match="exists already, expected a new folder"):
        make_figures(tmp_path / "mine", train_images=1, val_images=1)
    with pytest.raises(DataError, match="expected at least 1 of each"):
        make_figures(tmp_path / "new", train_images=0, val_images=1)

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(write_set, "mask_annotation", fail)
    with pytest.raises(OSError, match="no space"):
        make_figures(tmp_path / "new", train_images=4, val_images=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
