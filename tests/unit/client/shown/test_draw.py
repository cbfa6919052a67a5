"""Drawn pictures: colours where the objects are, labels inside the picture, nothing changed elsewhere."""

import dataclasses

import numpy as np
import pytest
from maskline_client import Detections, rle
from maskline_show.coco_person import KEYPOINTS as COCO_PERSON
from maskline_show.coco_person import lines_between
from maskline_show.labels import LabelStyle, place_label
from maskline_show.picture import PALETTE, colour_of, draw, viewing_scale
from PIL import Image

SIZE = (240, 320)  # height, width
GRAY = Image.new("RGB", (SIZE[1], SIZE[0]), (128, 128, 128))


def one_object(box: tuple[int, int, int, int], label: int = 0, name: str = "cat") -> Detections:
    """A rectangle that fills its box."""
    mask = np.zeros(SIZE, bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return Detections(
        boxes=np.array([box], np.float32),
        scores=np.array([0.87], np.float32),
        labels=np.array([label], np.int32),
        names=(name,),
        rle=(rle.from_mask(mask),),
        image_size=SIZE,
    )


def join(*parts: Detections) -> Detections:
    return Detections(
        np.concatenate([p.boxes for p in parts]),
        np.concatenate([p.scores for p in parts]),
        np.concatenate([p.labels for p in parts]),
        tuple(n for p in parts for n in p.names),
        tuple(r for p in parts for r in p.rle),
        SIZE,
    )


@pytest.mark.parametrize(
    ("size", "scale"),
    [
        ((20, 30), 24),  # 480 px
        ((1, 1), 480),
        ((480, 640), 1),
        ((3000, 4000), 1),
        ((1, 900), 2),  # 480 times would be 480 x 432000 px
        ((240, 999), 2),
        ((240, 1000), 1),
    ],
)
def test_small_pictures_are_enlarged_and_narrow_ones_stay_within_bounds(size: tuple[int, int], scale: int) -> None:
    assert viewing_scale(size) == scale


def test_no_object_leaves_the_picture_as_it_is() -> None:
    nothing = one_object((0, 0, 1, 1)).filter(min_score=2)
    np.testing.assert_array_equal(np.asarray(draw(GRAY, nothing)), np.asarray(GRAY))


def test_the_given_picture_is_not_drawn_on() -> None:
    before = np.asarray(GRAY).copy()
    draw(GRAY, one_object((50, 60, 200, 180)))
    np.testing.assert_array_equal(np.asarray(GRAY), before)


def test_a_mask_is_tinted_its_edge_is_solid_and_the_rest_stays() -> None:
    picture = np.asarray(draw(GRAY, one_object((50, 60, 200, 180)))).astype(int)
    colour = np.array(PALETTE[0])
    inside = 128 + (colour - 128) * 0.42
    assert np.abs(picture[120, 125] - inside).max() <= 2  # alpha is a whole number of 255ths
    edge = picture[110, 50:53]
    assert np.abs(edge - colour).max(axis=1).min() <= 15  # the box's line over it is not quite opaque
    untouched = np.delete(picture.reshape(-1, 3), _near((45, 30, 206, 186)), axis=0)
    assert (untouched == 128).all()


def _near(box: tuple[int, int, int, int]) -> np.ndarray:
    """Flat indices of the pixels of a box: object, lines and label."""
    touched = np.zeros(SIZE, bool)
    touched[box[1] : box[3], box[0] : box[2]] = True
    return np.flatnonzero(touched)


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 40, 30),  # top left: no room above
        (280, 0, 320, 30),  # top right
        (0, 210, 40, 240),  # bottom left
        (318, 238, 320, 240),  # a dot in the corner
        (0, 0, 320, 240),  # the whole picture
    ],
)
@pytest.mark.parametrize("name", ["cat", "a class with a name so long that no picture of this width can hold it whole"])
def test_the_label_lies_inside_the_picture(box: tuple[int, int, int, int], name: str) -> None:
    style = LabelStyle.for_picture((320, 240))
    text = style.fit(name, "87%", 320)
    assert text.startswith(name[:3])
    x0, y0, x1, y1 = place_label(box, style.size(text), (320, 240), [])
    assert 0 <= x0 < x1 < 320
    assert 0 <= y0 < y1 < 240
    assert y1 - y0 >= 10  # readable
    draw(GRAY, one_object(box, name=name))


def test_labels_of_neighbours_do_not_cover_each_other() -> None:
    taken: list[tuple[int, int, int, int]] = []
    style = LabelStyle.for_picture((320, 240))
    for i in range(6):
        box = (100 + 3 * i, 100 + 2 * i, 150 + 3 * i, 150 + 2 * i)
        place = place_label(box, style.size("cat · 87%"), (320, 240), taken)
        for other in taken:
            apart = place[0] > other[2] or other[0] > place[2] or place[1] > other[3] or other[1] > place[3]
            assert apart
        taken.append(place)


def test_a_label_hides_a_small_object_only_where_nothing_else_is_free() -> None:
    label = LabelStyle.for_picture((320, 240)).size("cat · 87%")
    assert place_label((100, 100, 120, 115), label, (320, 240), [])[3] < 100  # above
    assert place_label((100, 0, 120, 15), label, (320, 240), [])[1] >= 15  # no room above: below
    assert place_label((100, 0, 300, 200), label, (320, 240), [])[:2] == (100, 0)  # large: inside at the top


def test_colours_follow_the_class_or_the_instance() -> None:
    pair = join(one_object((20, 60, 100, 180), label=3), one_object((200, 60, 300, 180), label=3))
    by_class = np.asarray(draw(GRAY, pair))
    by_instance = np.asarray(draw(GRAY, pair, colour_by="instance"))
    np.testing.assert_array_equal(by_class[120, 60], by_class[120, 250])
    assert np.abs(by_instance[120, 60].astype(int) - by_instance[120, 250]).max() > 40


def test_a_hundred_colours_are_stable_and_neighbours_are_far_apart() -> None:
    colours = np.array([colour_of(i) for i in range(100)])
    assert [colour_of(i) for i in range(100)] == [tuple(c) for c in colours]
    assert colours.min() >= 0
    assert colours.max() <= 255
    assert (np.abs(np.diff(colours, axis=0)).max(axis=1) > 40).all()
    assert len({tuple(c) for c in colours}) == 100


def test_a_small_picture_is_enlarged_for_viewing_and_a_large_one_is_not() -> None:
    assert viewing_scale((96, 128)) == 5
    assert viewing_scale((1, 1)) > 100
    assert viewing_scale((600, 800)) == 1
    assert viewing_scale((1, 3000)) == 1
    small = draw(GRAY, one_object((50, 60, 200, 180)), scale=2)
    assert small.size == (640, 480)
    assert (
        np.abs(
            np.asarray(small)[240, 250].astype(int) - np.asarray(draw(GRAY, one_object((50, 60, 200, 180))))[120, 125]
        ).max()
        <= 1
    )


def test_a_picture_of_one_pixel_and_one_of_a_single_row_can_be_drawn() -> None:
    for size in ((1, 1), (1, 300)):
        box = np.array([[0, 0, size[1], size[0]]], np.float32)
        found = Detections(
            box,
            np.ones(1, np.float32),
            np.zeros(1, np.int32),
            ("dot",),
            (rle.from_mask(np.ones(size, bool)),),
            size,
        )
        assert draw(Image.new("L", size[::-1]), found).size == size[::-1]


def test_a_picture_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="got 320x240, expected 240x320"):
        draw(GRAY.rotate(90, expand=True), one_object((50, 60, 200, 180)))


def with_points(points: list[tuple[float, float, float]], names: tuple[str, ...]) -> Detections:
    """One object in the left half, without a mask, its keypoints anywhere."""
    found = one_object((20, 30, 150, 220), label=3)
    return dataclasses.replace(
        found, rle=None, keypoints=np.array([points], np.float32), keypoint_names=names, names=("",)
    )


@pytest.mark.parametrize("ground", [0, 128, 255])
def test_a_dot_shows_on_any_ground(ground: int) -> None:
    """Its own colour in the middle, a white and a black ring around it: one of the two differs from the ground."""
    picture = np.asarray(draw(Image.new("RGB", (320, 240), (ground,) * 3), with_points([(250.5, 120.5, 0.3)], ("a",))))
    assert tuple(picture[120, 250]) == PALETTE[0]
    row = [tuple(pixel) for pixel in picture[120, 240:251]]
    assert row == [(ground,) * 3] * 5 + [(0, 0, 0), (255, 255, 255)] + [PALETTE[0]] * 4


@pytest.mark.parametrize("place", [(250.5, 120.5), (250.1, 120.9), (250.0, 120.0)])
def test_a_keypoint_is_drawn_around_the_pixel_that_holds_it(place: tuple[float, float]) -> None:
    """Pixel 250 covers [250, 251); enlarged by 3 the middle of it, 751.5, lies in pixel 751."""
    found = with_points([(*place, 0.3)], ("a",))
    for scale in (1, 3):
        y, x = np.nonzero((np.asarray(draw(GRAY, found, scale=scale)) == PALETTE[0]).all(axis=2))
        assert (x.mean(), y.mean()) == (scale * place[0] // 1, scale * place[1] // 1)


def test_what_has_no_probability_is_not_drawn() -> None:
    names = COCO_PERSON
    nothing = [(160.0 + i, 120.0, 0.0) for i in range(17)]
    with_and_without = (with_points(nothing, names), dataclasses.replace(with_points(nothing, names), keypoints=None))
    np.testing.assert_array_equal(*(np.asarray(draw(GRAY, found)) for found in with_and_without))


def test_lines_join_the_keypoints_of_cocos_persons_and_of_nobody_else() -> None:
    """A line from wrist to elbow, and none to any other keypoint; seen at its middle, far from the dots."""
    points = [(0.0, 0.0, 0.0)] * 17
    points[COCO_PERSON.index("left_wrist")] = (200.5, 200.5, 0.3)
    points[COCO_PERSON.index("left_elbow")] = (280.5, 200.5, 0.3)
    points[COCO_PERSON.index("right_knee")] = (240.5, 40.5, 0.3)
    coco = np.asarray(draw(GRAY, with_points(points, COCO_PERSON)))
    assert tuple(coco[200, 240]) == PALETTE[3]  # the object's colour
    assert 0 in coco[196:204, 240]  # and its dark rim
    assert (coco[100:140, 200:300] == 128).all()
    other = np.asarray(draw(GRAY, with_points(points, tuple(f"k{j}" for j in range(17)))))
    assert (other[190:210, 220:260] == 128).all()


def test_lines_follow_the_names_in_any_order() -> None:
    pairs = {frozenset((COCO_PERSON[a], COCO_PERSON[b])) for a, b in lines_between(COCO_PERSON)}
    mirrored = COCO_PERSON[::-1]
    assert {frozenset((mirrored[a], mirrored[b])) for a, b in lines_between(mirrored)} == pairs
    assert len(pairs) == 19
    assert frozenset(("nose", "left_eye")) in pairs
    assert {name for pair in pairs for name in pair} == set(COCO_PERSON)


def test_dots_of_a_small_object_are_smaller() -> None:
    large = with_points([(250.5, 120.5, 0.3)], ("a",))
    small = dataclasses.replace(large, boxes=np.array([[240, 110, 260, 130]], np.float32), names=("",))
    areas = [(np.asarray(draw(GRAY, found)) == PALETTE[0]).all(axis=2).sum() for found in (large, small)]
    assert 0 < areas[1] < areas[0]


def test_many_labels_are_small_ones_and_few_as_large_as_ever() -> None:
    size = (1024, 1024)
    heights = [LabelStyle.for_picture(size, count).size("one · 99%")[1] for count in (0, 1, 10, 90, 5000)]
    assert heights[0] == heights[1] == heights[2] > heights[3] > heights[4]
    width, height = LabelStyle.for_picture(size, 90).size("seven · 99%")
    assert 90 * width * height < 0.25 * size[0] * size[1]  # about the sixth that is meant for a usual text
