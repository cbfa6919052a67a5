"""Pascal VOC's maps, of Datumaro and painted by hand as the challenge's pages say, become COCO data sets."""

import numpy as np
import pytest
from PIL import Image
from support.data.converted import convert, masks_of
from support.data.foreign_labels import FOLDER, box, put_in, same
from support.data.mask_files import HEIGHT, WIDTH, write_picture

# The first colours of VOC's development kit, and its void.
BLACK, AEROPLANE, BICYCLE, BIRD, VOID = (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (224, 224, 192)
PERSON, TVMONITOR = (192, 128, 128), (0, 64, 128)
FIRST, SECOND = box(5, 6, 15, 20), box(30, 10, 50, 30)


def painted(*areas):
    """[H, W, 3]: of each (mask, colour) the colour, later ones on top."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for mask, colour in areas:
        pixels[mask] = colour
    return pixels


def write(source, name, objects, classes):
    """A picture with its two maps."""
    write_picture(source / "JPEGImages" / f"{name}.png")
    for folder, pixels in (("SegmentationObject", objects), ("SegmentationClass", classes)):
        (source / folder).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(source / folder / f"{name}.png")


def write_two(source, classes=None):
    """Pictures a and b: a person and a tvmonitor with a void border."""
    border = box(4, 5, 16, 21) & ~FIRST
    objects = painted((FIRST, AEROPLANE), (SECOND, BICYCLE), (border, VOID))
    for name in ("a", "b"):
        given = painted((FIRST, PERSON), (SECOND, TVMONITOR), (border, VOID)) if classes is None else classes
        write(source, name, objects, given)


def write_split(source, **names):
    (source / "ImageSets" / "Segmentation").mkdir(parents=True)
    for split, text in names.items():
        (source / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(text)


def found_in(out):
    return {**dict(masks_of(out, "train")), **dict(masks_of(out, "val"))}


def test_datumaros_maps_names_and_splits_are_what_was_put_in(tmp_path):
    """Its writer paints masks alone: the polygon is not in the file."""
    assert convert("voc", FOLDER / "voc", tmp_path / "out") == 0
    for split, names in (("train", ["a.png", "city/b.png"]), ("val", ["c.png"])):
        found = dict(masks_of(tmp_path / "out", split))
        assert list(found) == names
        assert all(same(objects, put_in()[:3]) for objects in found.values())


@pytest.mark.parametrize("mode", ["RGB", "palette", "gray"])
def test_objects_have_the_class_of_their_pixels_and_void_is_nobodys(tmp_path, mode):
    source = tmp_path / "source"
    write_two(source)
    if mode != "RGB":
        numbers = {BLACK: 0, AEROPLANE: 1, BICYCLE: 2, PERSON: 15, TVMONITOR: 20, VOID: 255}
        for path in sorted(source.glob("Segmentation*/*.png")):
            pixels = np.asarray(Image.open(path))
            indices = np.array([numbers[tuple(colour)] for colour in pixels.reshape(-1, 3).tolist()], np.uint8)
            image = Image.fromarray(indices.reshape(HEIGHT, WIDTH))
            if mode == "palette":
                palette = np.zeros((256, 3), np.uint8)
                palette[list(numbers.values())] = list(numbers)
                image.putpalette(palette.tobytes())
            image.save(path)
    assert convert("voc", source, tmp_path / "out") == 0
    found = found_in(tmp_path / "out")
    assert sorted(found) == ["a.png", "b.png"]
    assert all(same(objects, [("person", FIRST), ("tvmonitor", SECOND)]) for objects in found.values())


def test_pixels_of_another_class_are_counted_and_the_most_win(tmp_path, capsys):
    classes = painted((FIRST, PERSON), (SECOND, TVMONITOR), (box(5, 6, 15, 9), BIRD), (box(30, 10, 50, 12), VOID))
    write_two(tmp_path / "source", classes)
    assert convert("voc", tmp_path / "source", tmp_path / "out") == 0
    assert "(void apart); the class of most was taken: 2\n" in capsys.readouterr().out
    assert all(
        same(objects, [("person", FIRST), ("tvmonitor", SECOND)]) for objects in found_in(tmp_path / "out").values()
    )


def test_a_labelmap_names_colours_and_its_background_is_no_class(tmp_path, capsys):
    source = tmp_path / "source"
    write_two(source)
    lines = ["# label:color_rgb:parts:actions", "background:1,2,3::", "human:192,128,128::", "screen:0,64,128:a,b:c"]
    (source / "labelmap.txt").write_text("\n".join([*lines, "void:224,224,192::", ""]))
    assert convert("voc", source, tmp_path / "out") == 0
    assert "train: 1 picture, objects: 1 human, 1 screen\n" in capsys.readouterr().out


def test_splits_are_the_lists_and_what_is_in_none_or_has_no_map_is_counted(tmp_path, capsys):
    source = tmp_path / "source"
    write_two(source)
    write_picture(source / "JPEGImages" / "c.png")
    write_split(source, train="b\n", test="c\n", trainval="a\nb\n")
    assert convert("voc", source, tmp_path / "out") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines[:2]] == ["train: 1 picture", "test: 1 picture"]
    assert lines[2:] == [
        "pictures in no split, left out: 1",
        "pictures without a label file, kept as pictures without objects: 1",
        f"Look through it: maskline-train data check {tmp_path / 'out'} --split train --split test",
        f"Next: maskline-train new {tmp_path / 'out'} --val-split test",
    ]


def drop(folder):
    return lambda source: (source / folder).rename(source / "elsewhere")


def labelmap(text):
    return lambda source: (source / "labelmap.txt").write_text(text)


def classes(pixels):
    return lambda source: Image.fromarray(pixels).save(source / "SegmentationClass" / "a.png")


MISTAKES = {
    "boxes alone": (lambda s: (drop("SegmentationObject")(s), (s / "Annotations").mkdir()), "Annotations/ are boxes"),
    "no pictures": (drop("JPEGImages"), "got no JPEGImages/, expected JPEGImages/, SegmentationObject/"),
    "a map without a picture": (lambda s: (s / "JPEGImages" / "a.png").unlink(), "got no picture a.* in JPEGImages/"),
    "a class map that is missing": (lambda s: (s / "SegmentationClass" / "a.png").unlink(), "a.png: no such file"),
    "a picture twice": (lambda s: write_picture(s / "JPEGImages" / "a.jpg"), "got the name of "),
    "a split of nothing": (lambda s: write_split(s, val="z\n"), "got no picture 'z' in JPEGImages/"),
    "a picture in two splits": (lambda s: write_split(s, val="a\n", train="a\n"), "got 'a', which is in train too"),
    "a split of bytes": (
        lambda s: (write_split(s), (s / "ImageSets/Segmentation/val.txt").write_bytes(b"\xff")),
        "val.txt: not UTF-8 text",
    ),
    "a labelmap of bytes": (lambda s: (s / "labelmap.txt").write_bytes(b"\xff"), "labelmap.txt: not UTF-8 text"),
    "a colour of two": (labelmap("a:1,2::"), "labelmap.txt: line 1: got the colour '1,2'"),
    "a colour beyond 255": (labelmap("a:1,2,256::"), "got the colour '1,2,256'"),
    "a colour below 0": (labelmap("a:1,2,-3::"), "got the colour '1,2,-3'"),
    "a colour twice": (
        labelmap("a:1,2,3::\nb:1,2,3::"),
        "line 2: got 'b:1,2,3::', expected each name and each colour once",
    ),
    "no name": (labelmap(":1,2,3::"), "got the class ''"),
    "a class that is not named": (labelmap("human:192,128,128::"), "the object (0, 128, 0), which is (0, 64, 128) in "),
    "an object without a class": (classes(painted((SECOND, PERSON))), "the object (128, 0, 0), which is (0, 0, 0) in "),
    "another size": (classes(np.zeros((WIDTH, HEIGHT, 3), np.uint8)), "got 40x60 pixels, expected 60x40"),
    "16 bits": (classes(np.zeros((HEIGHT, WIDTH), np.uint16)), "got a PNG of mode I;16, expected colours or a palette"),
    "no PNG": (lambda s: (s / "SegmentationClass" / "a.png").write_bytes(b"x"), "a.png: cannot be read"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_named_and_nothing_is_written(tmp_path, capsys, case):
    spoil, said = MISTAKES[case]
    write_two(tmp_path / "source")
    spoil(tmp_path / "source")
    assert convert("voc", tmp_path / "source", tmp_path / "out") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "out").exists()
