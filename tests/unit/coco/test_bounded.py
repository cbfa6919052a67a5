"""Whatever a number in a file says, reading it costs little memory and time."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from maskline_coco.annotation_file import MAX_OBJECTS, read_instances
from maskline_coco.errors import DataError
from maskline_coco.segmentation import MAX_OUTLINE_PX, decode_counts, parse_segmentation
from support.data.coco_files import annotation, write

BYTES_A_PIXEL = 82  # of an outline, in pycocotools 2.0: 5 points a pixel, 4 numbers of 4 bytes each, and what follows


def refused(path: Path, **limits: int) -> str:
    with pytest.raises(DataError) as caught:
        read_instances(path)
    return str(caught.value)


@pytest.mark.parametrize("far", [1e9, 1e7, -1e9, 1e300, 10**400, 1_000_001])
def test_a_coordinate_far_away_is_refused_where_the_file_is_read(tmp_path: Path, far: float) -> None:
    polygon = [[4, 5, far, 5, 10, 11]]
    assert "in a polygon, expected pixels" in refused(
        write(tmp_path, annotations=[annotation(1, segmentation=polygon)])
    )
    assert "got bbox" in refused(write(tmp_path, annotations=[annotation(1, bbox=[4, 5, far, 6])]))


def test_a_short_text_cannot_draw_a_long_line(tmp_path: Path) -> None:
    """Each coordinate is lawful; to and fro over the image they make an outline of 6 million pixels."""
    zigzag = [0, 0, 19_999, 1] * 150
    path = write(tmp_path, annotations=[annotation(1, segmentation=[zigzag])])
    assert f"got outlines of 5999700 px, expected at most {MAX_OUTLINE_PX}" in refused(path)


def test_the_longest_outline_that_is_taken_needs_its_bytes_and_no_more() -> None:
    code = (
        "import sys; from maskline_coco.segmentation import parse_segmentation, area_px\n"
        "polygon = [0.0, 0.0, 19999.0, 1.0] * int(sys.argv[1])\n"
        "peak = lambda: int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) * 1024\n"
        "before = peak()\n"
        "found, _ = parse_segmentation([polygon], 2000, 20000)\n"
        "area_px(found, 2000, 20000)\n"
        "print(peak() - before)"
    )
    command = [sys.executable, "-c", code, str(MAX_OUTLINE_PX // 2 // 19_999)]
    used = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert MAX_OUTLINE_PX * BYTES_A_PIXEL / 3 < used < MAX_OUTLINE_PX * BYTES_A_PIXEL * 1.2  # a fifth for the allocator


def test_the_size_of_an_image_is_bounded_before_a_mask_of_it_is_made(tmp_path: Path) -> None:
    for height, width in ((10**9, 10**9), (20, 20_001), (10_000, 10_000)):
        path = write(tmp_path, images=[{"id": 10, "file_name": "a.png", "height": height, "width": width}])
        assert f"images[0]: got {width}x{height} pixels, expected at most" in refused(path)


def test_a_run_length_of_a_million_characters_ends_soon() -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match="more than 35 bits"):
        decode_counts("o" * 1_000_000 + "0")
    assert time.process_time() - started < 1  # adding up its 5 million bits takes minutes


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, "\ud800".encode("utf-8", "surrogatepass")]
)
def test_what_breaks_a_json_reader_is_one_line(tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert "not a whole JSON file" in refused(path)
    assert "\n" not in refused(path)


def test_a_message_about_a_long_value_is_short(tmp_path: Path) -> None:
    for changes in ({"bbox": [0] * 100_000}, {"area": "x" * 100_000}, {"segmentation": {"size": [0] * 100_000}}):
        assert len(refused(write(tmp_path, annotations=[annotation(1, **changes)]))) < 500


def test_ordinary_outlines_are_taken() -> None:
    angles = np.linspace(0, 2 * np.pi, 1000)
    outline = np.stack([2000 + 1900 * np.cos(angles), 2000 + 1900 * np.sin(angles)], axis=1)
    polygons = [outline.ravel().tolist()] * 100
    assert parse_segmentation(polygons, 4000, 4000)[1] == ""


def test_names_are_counted(tmp_path: Path) -> None:
    """COCOeval would take 19 GB for a hundred thousand categories, which a file of 4 MB can name."""
    many = [{"id": i, "name": f"c{i}"} for i in range(10_001)]
    assert "expected 1 to 10000" in refused(write(tmp_path, categories=many, annotations=[]))
    points = [{"id": 3, "name": "cat", "keypoints": [f"p{i}" for i in range(1001)]}]
    assert "each once, at most 1000" in refused(write(tmp_path, categories=points, annotations=[]))


def test_the_objects_of_an_image_are_counted(tmp_path: Path) -> None:
    """A million of them are a million masks in training, 1 MB each."""
    taken = write(tmp_path, annotations=[annotation(i) for i in range(MAX_OBJECTS)])
    assert len(read_instances(taken)[2][0].annotations) == MAX_OBJECTS
    text = refused(write(tmp_path, annotations=[annotation(i) for i in range(MAX_OBJECTS + 1)]))
    assert f"annotations[{MAX_OBJECTS}] (id {MAX_OBJECTS}): image 10 (a.png) has more than 5000 annotations" in text


def test_an_object_of_many_keys_of_which_one_is_there_twice_is_soon_found(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{" + ",".join(f'"{i}":0' for i in range(200_000)) + ',"199999":0}')
    started = time.process_time()
    assert "the key '199999' twice (0 and 0)" in refused(path)
    assert time.process_time() - started < 10  # comparing each with each takes half an hour
