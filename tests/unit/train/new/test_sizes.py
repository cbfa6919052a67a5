"""How large the network sees pictures, and which anchors and numbers follow from the objects."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from maskline_train.new.choices.anchors import anchor_choices
from maskline_train.new.choices.numbers import number_choices
from maskline_train.new.choices.sizes import CPU, GPU, Room, network_size, size_choices, smaller_size, tile_px
from maskline_train.new.survey import Survey
from maskline_train.recipes.finetune import finetune_cpu
from maskline_train.spec import AnchorSpec, PreprocessingSpec

CLASSES = ("nucleus",)
START = finetune_cpu.build(CLASSES)


def survey_of(pictures: tuple[int, int], box: tuple[float, float], images: int = 4, objects: int = 5) -> Survey:
    """So many pictures of one size with so many objects of one size each."""
    total = images * objects
    return Survey(
        np.full((images, 2), pictures, np.float64),
        np.full((total, 2), box, np.float64),
        np.repeat(np.arange(images), objects),
        np.zeros(total, np.int64),
        CLASSES,
    )


@pytest.mark.parametrize(
    ("pictures", "box", "room", "sides", "object_px"),
    [
        ((128, 128), (23, 23), CPU, (320, 320), 57.5),  # 56 px: a cell of the finest level for each of 14 samples
        ((512, 512), (400, 400), CPU, (320, 320), 250),  # not smaller than what is quick
        ((512, 512), (20, 20), CPU, (768, 768), 30),  # slower, up to the limit, where 8 cells are not reached before
        ((727, 1026), (39, 39), CPU, (608, 864), 39 * 608 / 727),  # as far as 8 cells
        ((48, 48), (8, 8), CPU, (192, 192), 32),  # not enlarged more than four times
        ((480, 640), (60, 60), CPU, (320, 448), 40),  # quick, and 8 cells are reached
        ((480, 640), (60, 60), GPU, (480, 640), 60),
        ((2000, 2000), (112, 112), GPU, (992, 992), 55.552),  # smaller pictures, faster steps
        ((3000, 4000), (300, 300), GPU, (576, 768), 57.6),
    ],
)
def test_the_middle_object_gets_its_cells_within_the_room(
    pictures: tuple[int, int], box: tuple[float, float], room: Room, sides: tuple[int, int], object_px: float
) -> None:
    size = network_size(survey_of(pictures, box), room)
    assert (size.shorter_side_px, size.longer_side_px) == sides
    assert size.object_px == pytest.approx(object_px, rel=1e-6)


@settings(deadline=None)  # a loaded machine has none
@given(
    height=st.integers(1, 9000),
    width=st.integers(1, 9000),
    share=st.floats(0.001, 1),
    room=st.sampled_from([CPU, GPU]),
)
def test_any_pictures_give_sides_that_a_network_takes(height: int, width: int, share: float, room: Room) -> None:
    found = survey_of((height, width), (share * height, share * width))
    size = network_size(found, room)
    values = {c.field.split(".")[-1]: c.value for c in size_choices(found, size, START.model.preprocessing)}
    spec = PreprocessingSpec(**values)  # refuses what does not fit together
    assert spec.shorter_side_px % 32 == 0
    assert (
        size.shorter_side_px * size.longer_side_px <= (room.most_px + 32) ** 2 or size.shorter_side_px <= room.least_px
    )


def test_a_share_of_the_area_is_less_until_it_is_as_small_as_is_quick() -> None:
    found = survey_of((727, 1026), (39, 39))
    sides, size = [], network_size(found, CPU)
    while size is not None:
        sides.append(size.shorter_side_px)
        size = smaller_size(found, CPU, size, 0.5)
    assert sides == [608, 416, 320]
    assert smaller_size(found, CPU, network_size(found, CPU), 0.99) is None  # the nearest multiple is the same
    assert (
        smaller_size(survey_of((100, 300), (20, 20)), CPU, network_size(survey_of((100, 300), (20, 20)), CPU), 0.1)
        is None
    )


def test_a_network_that_pads_to_a_multiple_keeps_doing_so() -> None:
    found = survey_of((480, 640), (60, 60))
    imported = PreprocessingSpec(canvases=(), canvas_multiple=32)
    fields = [choice.field for choice in size_choices(found, network_size(found, GPU), imported)]
    assert "model.preprocessing.canvases" not in fields


def test_small_objects_of_large_pictures_want_tiles_that_hold_each_whole() -> None:
    found = survey_of((3000, 4000), (20, 30))
    tile = tile_px(found, network_size(found, CPU), CPU)
    assert tile is not None
    assert tile % 32 == 0
    in_a_tile = survey_of((tile, tile), (20, 30))
    assert network_size(in_a_tile, CPU).object_px >= 28  # 7 cells where there was half a pixel
    assert tile >= 4 * 30  # whole in one of those that overlap by a quarter


def test_one_large_object_does_not_silence_the_advice() -> None:
    found = survey_of((3000, 4000), (20, 20), images=50, objects=10)
    found.boxes[0] = 1600
    assert tile_px(found, network_size(found, CPU), CPU) == 192


def test_pictures_that_are_small_already_want_no_tiles() -> None:
    for found in (survey_of((128, 128), (23, 23)), survey_of((64, 64), (3, 3))):
        assert tile_px(found, network_size(found, CPU), CPU) is None


def test_anchors_of_the_start_are_kept_where_they_overlap_the_objects() -> None:
    found = survey_of((256, 256), (60, 60))
    sizes, ratios = anchor_choices(found, np.ones(4), START.model.anchors, 5)
    assert sizes.value == START.model.anchors.sizes_px
    assert ratios.value == (0.5, 1.0, 2.0)
    assert "kept" in sizes.reason


def test_long_objects_get_long_anchors() -> None:
    found = survey_of((256, 256), (128, 16))
    sizes, ratios = anchor_choices(found, np.ones(4), START.model.anchors, 5)
    assert ratios.value == (0.25, 0.5, 1.0, 2.0, 4.0)
    own = 90.5 * 16 / (128 * 16 + 64 * 64 - 90.5 * 16)  # of the ratio 2, as high as 90.5 and as wide as 45.3
    best = 128 * 16 / (128 * 32)  # of the ratio 4
    assert f"by {own:.2f}" in sizes.reason
    assert f"by {best:.2f} with these" in sizes.reason


def test_listed_anchors_of_an_import_stay() -> None:
    cells = (((0.0, 0.0, 7.0, 7.0),),) * 5
    assert anchor_choices(survey_of((256, 256), (60, 60)), np.ones(4), AnchorSpec(cells_px=cells), 5) == []


def test_full_pictures_get_more_proposals_samples_and_detections_than_the_start_has() -> None:
    few, many = (
        {choice.field: choice.value for choice in number_choices(found, START.model, START.sampling)}
        for found in (survey_of((256, 256), (60, 60), objects=5), survey_of((512, 512), (20, 20), objects=250))
    )
    assert few["model.proposals.max_proposals"] == START.model.proposals.max_proposals
    assert few["model.box_head.max_detections"] == 100
    assert many["model.proposals.max_proposals"] == 1000  # four an object
    assert many["model.box_head.max_detections"] == 350  # a quarter more than the fullest, in fifties
    assert many["sampling.roi_samples"] == 512  # the paper's, and the most
    for one, other in itertools.pairwise([few, many]):
        assert all(one[field] <= other[field] for field in one)
