"""Maps of IDs and folders of binary masks become COCO data sets, pixel by pixel."""

import dataclasses
import json
import struct
import zlib

import numpy as np
import pytest
from maskline_train.data.convert.labelled import Labelled, Object, Picture
from maskline_train.data.convert.write import in_splits, write
from maskline_train.data.errors import DataError
from PIL import Image
from support.data.converted import convert, masks_of
from support.data.mask_files import HEIGHT, IDS, WIDTH, id_map, write_masks, write_picture

CLASS = ("--class", "blob")


@pytest.mark.parametrize("mode", ["16 bits", "8 bits", "palette"])
def test_each_value_of_a_map_is_an_object_pixel_by_pixel(tmp_path, mode):
    source, ids = write_masks(tmp_path / "source"), id_map()
    if mode != "16 bits":
        ids = np.searchsorted([0, *IDS], ids).astype(np.uint8)
        for path in (source / "masks").iterdir():
            image = Image.fromarray(ids)
            if mode == "palette":
                image.putpalette([255, 0, 0] * 4)  # all of one colour: the index counts
            image.save(path)
    assert convert("masks", source, tmp_path / "out", *CLASS) == 0
    found = {**dict(masks_of(tmp_path / "out", "train")), **dict(masks_of(tmp_path / "out", "val"))}
    assert sorted(found) == ["a.png", "b.png", "c.png"]
    for objects in found.values():
        assert [name for name, _ in objects] == ["blob"] * 3
        for (_, mask), value in zip(objects, np.unique(ids)[1:], strict=True):
            assert np.array_equal(mask, ids == value)
    for split in ("train", "val"):
        content = json.loads((tmp_path / "out" / "annotations" / f"instances_{split}.json").read_text())
        assert [entry["bbox"] for entry in content["annotations"][:2]] == [[5, 4, 15, 16], [20, 4, 13, 16]]
        assert content["annotations"][0]["area"] == 15 * 16


def test_a_folder_a_picture_with_one_png_an_object_may_overlap(tmp_path):
    first, second = np.zeros((2, HEIGHT, WIDTH), bool)
    first[5:25, 5:25], second[15:35, 15:35] = True, True
    for name in ("one", "two"):
        write_picture(tmp_path / "source" / name / "images" / f"{name}.png")
        (tmp_path / "source" / name / "masks").mkdir()
        for number, mask in enumerate((first, second)):
            Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "source" / name / "masks" / f"{number}.png")
    assert convert("masks", tmp_path / "source", tmp_path / "out", *CLASS) == 0
    for split in ("train", "val"):
        ((_, objects),) = masks_of(tmp_path / "out", split)
        assert all(np.array_equal(mask, want) for (_, mask), want in zip(objects, (first, second), strict=True))


def test_the_end_says_what_was_made_what_was_left_out_and_what_comes_next(tmp_path, capsys):
    source = write_masks(tmp_path / "source")
    (source / "masks" / "b.png").unlink()
    picture = Image.open(source / "images" / "c.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned by a quarter: upright it is as before
    picture.transpose(Image.Transpose.ROTATE_90).save(source / "images" / "c.png", exif=exif)
    assert convert("masks", source, tmp_path / "out", *CLASS) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == ["train", "val"]
    assert lines[2:] == [
        "pictures with an EXIF orientation; their labels were taken as those of the upright picture: 1",
        "pictures without a label file, kept as pictures without objects: 1",
        f"Look through it: maskline-train data check {tmp_path / 'out'}",
        f"Next: maskline-train new {tmp_path / 'out'}",
    ]
    found = {**dict(masks_of(tmp_path / "out", "train")), **dict(masks_of(tmp_path / "out", "val"))}
    assert [len(found[name]) for name in ("a.png", "b.png", "c.png")] == [3, 0, 3]


def too_large(path):
    """A PNG whose header says 8000 x 8000, with no pixel in it."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", 8000, 8000, 16, 0, 0, 0, 0), b"IDAT")
    whole = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(whole))


HOSTILE = {
    "a map without a picture": (lambda s: (s / "images" / "b.png").unlink(), "masks/b.png: got no picture b.*"),
    "a map of another size": (
        lambda s: Image.fromarray(id_map()[:, 1:]).save(s / "masks" / "b.png"),
        "masks/b.png: got 59x40 pixels, expected 60x40",
    ),
    "colours": (lambda s: write_picture(s / "masks" / "b.png"), "masks/b.png: got a PNG of mode RGB"),
    "a map cut off": (lambda s: (s / "masks" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n"), "masks/b.png: cannot be"),
    "a size that lies, of 64 megapixels": (
        lambda s: too_large(s / "masks" / "b.png"),
        "masks/b.png: got 8000x8000 pixels, expected at most",
    ),
    "an empty picture": (lambda s: (s / "images" / "b.png").write_bytes(b""), "images/b.png: got an empty file"),
    "no picture": (lambda s: (s / "images" / "b.png").write_bytes(b"GIF89a"), "images/b.png: not a "),
    "two of a name": (lambda s: write_picture(s / "images" / "b.bmp"), "images/b.png: got the name of"),
    "too many objects": (
        lambda s: [
            Image.fromarray(np.arange(90 * 60, dtype=np.uint16).reshape(90, 60)).save(s / "masks" / "b.png"),
            Image.fromarray(np.zeros((90, 60), np.uint8)).save(s / "images" / "b.png"),
        ],
        "masks/b.png: got 5399 objects, expected at most 5000",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_file_that_is_wrong_names_itself_in_a_line_and_nothing_is_written(tmp_path, capsys, case):
    spoil, said = HOSTILE[case]
    source = write_masks(tmp_path / "source")
    spoil(source)
    assert convert("masks", source, tmp_path / "out", *CLASS) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_a_smoothed_mask_of_one_object_is_refused(tmp_path, capsys):
    write_picture(tmp_path / "source" / "a" / "images" / "a.png")
    (tmp_path / "source" / "a" / "masks").mkdir()
    Image.fromarray(np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)).save(
        tmp_path / "source" / "a" / "masks" / "0.png"
    )
    assert convert("masks", tmp_path / "source", tmp_path / "out", *CLASS) == 1
    assert "masks/0.png: got 255 values beside 0, expected one" in capsys.readouterr().err


def test_masks_need_a_class_and_one_of_the_two_layouts(tmp_path, capsys):
    assert convert("masks", write_masks(tmp_path / "source"), tmp_path / "out") == 1
    assert "--class: got none" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert convert("masks", tmp_path / "empty", tmp_path / "out", *CLASS) == 1
    assert "empty: got neither images/ and masks/ nor folders with these" in capsys.readouterr().err


def pictures(count, split=""):
    return tuple(Picture(f"{number}.png", b"", (1, 1), (), split) for number in range(count))


def test_the_split_is_by_picture_the_same_each_time_and_another_by_another_seed():
    names = [[p.file_name for p in in_splits(pictures(50), 0.1, seed)["val"]] for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]
    assert len(names[0]) == 5
    reversed_order = in_splits(pictures(50)[::-1], 0.1, 0)
    assert sorted(p.file_name for p in reversed_order["val"]) == sorted(names[0])
    assert len(reversed_order["train"]) == 45


@pytest.mark.parametrize(("share", "val"), [(0.0, 1), (0.001, 1), (0.5, 5), (1.0, 9)])
def test_neither_split_is_empty(share, val):
    assert len(in_splits(pictures(10), share, 0)["val"]) == val


def test_what_is_drawn_for_val_has_an_object_where_some_other_has_too():
    mostly_empty = [Picture(f"{number}.png", b"", (1, 1), ()) for number in range(30)]
    for marked in ((3, 4), (0, 29), (7, 8, 9)):
        some = [
            dataclasses.replace(entry, objects=(Object("cat", []),)) if number in marked else entry
            for number, entry in enumerate(mostly_empty)
        ]
        for seed in range(5):
            drawn = in_splits(some, 0.05, seed)
            assert all(any(entry.objects for entry in found) for found in drawn.values())
            assert len(drawn["val"]) == 2


def test_one_picture_cannot_be_divided_but_a_split_of_the_format_may_hold_one():
    with pytest.raises(DataError, match="got 1 picture, expected at least 2"):
        in_splits(pictures(1), 0.1, 0)
    assert list(in_splits(pictures(1, "test"), 0.1, 0)) == ["test"]
    drawn = in_splits(pictures(10, "train"), 0.1, 0)  # a train split alone: a part to judge by
    assert {split: len(found) for split, found in drawn.items()} == {"train": 9, "val": 1}


@pytest.mark.parametrize("split", ["", "train"])
def test_two_pictures_of_a_name_are_refused(tmp_path, split):
    twice = Labelled(("blob",), pictures(1, split) * 2)
    with pytest.raises(DataError, match=r"0\.png: got 2 pictures of that name"):
        write(twice, tmp_path / "out", 0.1, 0)
    assert not list(tmp_path.iterdir())
