"""A set cut into tiles is a set again: every pixel of every object where it was."""

import json
from pathlib import Path

import numpy as np
import pytest
from maskline_tiles import Tile, merged, piece_of_mask
from maskline_train.cli import main
from maskline_train.data.coco import CocoDataset
from PIL import Image
from support.data.shapes_data import SIZE, write_shapes
from support.processes.in_process import call

SIDE, OVERLAP = 64, 32


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("data") / "shapes", {"train": 6, "val": 3}, sides_px=(8, 30))


@pytest.fixture(scope="module")
def cut(data: Path) -> Path:
    out = data.parent / "tiles"
    words = ("--size", str(SIDE), "--overlap", str(OVERLAP), "--empty", "99", "--least-share", "0")
    assert call(main, "data", "tiles", str(data), str(out), *words) == 0
    return out


def tile_of(name: str) -> tuple[str, Tile]:
    stem, y0, x0 = Path(name).stem.rsplit("_", 2)
    return stem, Tile(int(y0), int(x0), SIDE, SIDE)


@pytest.mark.parametrize("split", ["train", "val"])
def test_tiles_put_together_are_the_pictures_and_their_objects(data: Path, cut: Path, split: str) -> None:
    before, after = CocoDataset(data, split), CocoDataset(cut, split)
    after.check_images()
    places = [tile_of(record.file_name) for record in after]
    for index, record in enumerate(before):
        mine = [number for number, (stem, _) in enumerate(places) if stem == Path(record.file_name).stem]
        assert len(mine) == 2 * 3  # 96 x 128 px
        whole, pieces, tiles = np.zeros((*SIZE, 3), np.uint8), [], []
        for number in mine:
            tile, objects = places[number][1], after.objects(number)
            whole[tile.y0 : tile.y1, tile.x0 : tile.x1] = after.image(number)
            tiles.append(tile)
            rows = zip(objects.boxes.tolist(), objects.labels.tolist(), objects.masks.astype(bool), strict=True)
            pieces.append([piece_of_mask(tile, tuple(box), 1.0, label, mask) for box, label, mask in rows])
        np.testing.assert_array_equal(whole, before.image(index))
        truth = before.objects(index)
        found = merged(pieces, tiles, SIZE)
        masks = sorted((p.label, p.box, p.within(0, 0, *SIZE).tobytes()) for p in found)
        expected = zip(truth.labels.tolist(), truth.boxes.tolist(), truth.masks.astype(bool), strict=True)
        assert masks == sorted((label, tuple(box), mask.tobytes()) for label, box, mask in expected)


def write_bar(folder: Path, suffix: str = ".png") -> Path:
    """A picture of 40 x 200 px with one object from x = 90 to 110, one far left, and a keypoint at each end."""
    (folder / "annotations").mkdir(parents=True)
    bars = [[90, 10, 20, 10], [2, 2, 6, 6]]
    entries = [
        {
            "id": number, "image_id": 1, "category_id": 3, "bbox": [x, y, w, h], "iscrowd": int(number == 2),
            "segmentation": {"size": [40, 200], "counts": runs(x, y, w, h)} if number == 2
            else [[x, y, x + w, y, x + w, y + h, x, y + h]],
            "keypoints": [x, y, 2, x + w - 1, y, 1] if number == 1 else [0] * 6,
        }
        for number, (x, y, w, h) in enumerate(bars, 1)
    ]  # fmt: skip
    categories = [{"id": 3, "name": "bar", "keypoints": ["begin", "end"]}]
    for split in ("train", "val"):
        (folder / split / "below").mkdir(parents=True)
        Image.new("RGB", (200, 40), (90, 120, 60)).save(folder / split / "below" / f"a{suffix}")
        images = [{"id": 1, "file_name": f"below/a{suffix}", "height": 40, "width": 200}]
        content = {"images": images, "annotations": entries, "categories": categories}
        (folder / "annotations" / f"person_keypoints_{split}.json").write_text(json.dumps(content))
    return folder


def runs(x: int, y: int, w: int, h: int) -> list[int]:
    mask = np.zeros((40, 200), bool)
    mask[y : y + h, x : x + w] = True
    flat = np.concatenate([[False], mask.T.ravel()])
    edges = np.flatnonzero(np.diff(flat))
    return np.diff([0, *edges, mask.size]).tolist()


def cut_bar(folder: Path, *words: str) -> dict:
    out = folder.parent / "tiles"
    options = ("--size", "100", "--overlap", "0", "--annotations", "person_keypoints", *words)
    assert call(main, "data", "tiles", str(folder), str(out), *options) == 0
    return json.loads((out / "annotations" / "person_keypoints_train.json").read_text())


def test_a_cut_object_is_in_both_tiles_with_what_is_seen_of_it(tmp_path: Path) -> None:
    content = cut_bar(write_bar(tmp_path / "bar"))
    assert [image["file_name"] for image in content["images"]] == ["below/a_0_0.png", "below/a_0_100.png"]
    left, crowd, right = content["annotations"]
    assert (left["image_id"], left["bbox"], left["area"]) == (1, [90, 10, 10, 10], 100)
    assert (right["image_id"], right["bbox"], right["area"]) == (2, [0, 10, 10, 10], 100)
    assert left["keypoints"] == [90, 10, 2, 0, 0, 0]
    assert right["keypoints"] == [0, 0, 0, 9, 10, 1]
    assert (crowd["iscrowd"], crowd["bbox"]) == (1, [2, 2, 6, 6])
    assert content["categories"] == [{"id": 3, "name": "bar", "keypoints": ["begin", "end"]}]


def test_what_is_hardly_seen_is_a_crowd_region_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody has to find it, nobody is wrong who does, and no tile with nothing else teaches it as background."""
    content = cut_bar(write_bar(tmp_path / "bar"), "--least-share", "0.51", "--empty", "99")
    crowd, left = content["annotations"]
    assert len(content["images"]) == 1
    assert (crowd["iscrowd"], crowd["bbox"]) == (1, [2, 2, 6, 6])
    assert (left["iscrowd"], left["bbox"], left["area"]) == (1, [90, 10, 10, 10], 100)
    scored = json.loads((tmp_path / "tiles" / "annotations" / "person_keypoints_val.json").read_text())
    assert [entry["image_id"] for entry in scored["annotations"]] == [1, 1, 2]
    assert all(entry["iscrowd"] for entry in scored["annotations"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == (
        "train: 1 picture, 1 tile, 0 of them without objects; 1 object, 0 of them cut by an edge; crowd regions, as "
        "hardly seen: 1; tiles without objects left out: 1"
    )
    assert printed[1].startswith("val: 1 picture, 2 tiles, 1 of them without objects")  # all of what is scored
    assert printed[1].endswith("crowd regions, as hardly seen: 2")
    assert printed[-1] == "Once it is trained, look by tiles: maskline-client detect IMAGE --tiles 100 --out pictures"
    assert printed[-2] == f"Next: maskline-train new {tmp_path / 'tiles'} --annotations person_keypoints"


@pytest.mark.parametrize(("empty", "tiles"), [("0", 3), ("1", 4)])
def test_of_tiles_without_objects_as_many_are_kept_as_are_wanted(tmp_path: Path, empty: str, tiles: int) -> None:
    """Of four tiles the last has no object; there are three with one."""
    content = cut_bar(write_bar(tmp_path / "bar"), "--size", "50", "--empty", empty)
    assert len(content["images"]) == tiles


def write_large(folder: Path, size: tuple[int, int], boxes: list[list[int]], names: tuple[str, ...]) -> Path:
    """Pictures of one size with the same rectangles, x y width height."""
    (folder / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        (folder / split).mkdir()
        images, annotations = [], []
        for name in names:
            shade = 60 + 50 * len(images)
            Image.new("RGB", (size[1], size[0]), (shade, shade, shade)).save(folder / split / name, lossless=True)
            images.append({"id": len(images) + 1, "file_name": name, "height": size[0], "width": size[1]})
            for x, y, w, h in boxes:
                outline = [] if w == 0 else [[x, y, x + w, y, x + w, y + h, x, y + h]]
                entry = {"id": len(annotations) + 1, "image_id": len(images), "category_id": 1, "iscrowd": 0}
                annotations.append({**entry, "bbox": [x, y, max(1, w), max(1, h)], "segmentation": outline})
        content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return folder


def test_an_object_of_many_tiles_is_in_each_of_them(tmp_path: Path) -> None:
    large = write_large(tmp_path / "large", (512, 512), [[4, 4, 500, 500]], ("a.png",))
    assert call(main, "data", "tiles", str(large), str(tmp_path / "out"), "--size", "128", "--overlap", "0") == 0
    content = json.loads((tmp_path / "out" / "annotations" / "instances_train.json").read_text())
    assert len(content["annotations"]) == len(content["images"]) == 16
    assert not any(entry["iscrowd"] for entry in content["annotations"])
    assert sum(entry["area"] for entry in content["annotations"]) == 500 * 500


def test_pictures_that_differ_by_their_ending_alone_stay_two(tmp_path: Path) -> None:
    folder = write_large(tmp_path / "two", (64, 64), [[4, 4, 20, 20]], ("a.png", "a.bmp", "b.png"))
    assert call(main, "data", "tiles", str(folder), str(tmp_path / "out"), "--size", "64") == 0
    tiles = CocoDataset(tmp_path / "out", "train")
    assert [record.file_name for record in tiles] == ["a-png_0_0.png", "a-bmp_0_0.png", "b_0_0.png"]
    assert [int(tiles.image(index)[0, 0, 0]) for index in range(3)] == [60, 110, 160]


def test_what_has_no_mask_is_counted_and_a_set_of_nothing_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_large(tmp_path / "some", (64, 64), [[4, 4, 20, 20], [30, 30, 0, 0]], ("a.png",))
    assert call(main, "data", "tiles", str(folder), str(tmp_path / "out"), "--size", "64") == 0
    assert "annotations without a mask, left out: 1" in capsys.readouterr().out
    nothing = write_large(tmp_path / "none", (64, 64), [[30, 30, 0, 0]], ("a.png",))
    assert call(main, "data", "tiles", str(nothing), str(tmp_path / "other"), "--size", "64") == 1
    assert "got no object to train on" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "other").exists()


def test_the_next_command_has_the_splits_and_the_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bar = write_bar(tmp_path / "my bar")
    for split in ("train", "val"):
        (bar / split).rename(bar / f"{split}2017")
        kind = bar / "annotations" / f"person_keypoints_{split}"
        kind.with_suffix(".json").rename(f"{kind}2017.json")
    words = ("--split", "train2017", "--split", "val2017", "--annotations", "person_keypoints", "--size", "100")
    assert call(main, "data", "tiles", str(bar), str(tmp_path / "my tiles"), *words) == 0
    assert capsys.readouterr().out.splitlines()[-2] == (
        f"Next: maskline-train new '{tmp_path / 'my tiles'}' --train-split train2017 --val-split val2017 "
        "--annotations person_keypoints"
    )


def test_lossy_pictures_stay_lossy_and_small_ones_whole(tmp_path: Path) -> None:
    out = tmp_path / "tiles"
    words = ("--size", "256", "--annotations", "person_keypoints")
    assert call(main, "data", "tiles", str(write_bar(tmp_path / "bar", ".jpg")), str(out), *words) == 0
    with Image.open(out / "train" / "below" / "a_0_0.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (200, 40))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--overlap", "300"), "--overlap: got 300, expected at most half of --size 512"),
        (("--split", "none"), "instances_none.json"),
    ],
)
def test_what_cannot_be_leaves_nothing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    assert call(main, "data", "tiles", str(data), str(tmp_path / "out"), *words) == 1
    assert message in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []
