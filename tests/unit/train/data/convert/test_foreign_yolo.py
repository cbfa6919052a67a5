"""Label files that supervision wrote, not we, become the masks that it was given."""

import cv2
import numpy as np
import supervision
from support.data.converted import convert, masks_of
from support.data.mask_files import HEIGHT, IDS, WIDTH, id_map, write_picture


def write_by_supervision(source):
    """A picture with the objects of `id_map`, of two classes; its data.yaml names no folders, as supervision has it."""
    masks = np.stack([id_map() == value for value in IDS])
    picture = str(write_picture(source / "made" / "a.png"))
    found = supervision.Detections(supervision.mask_to_xyxy(masks), mask=masks, class_id=np.array([1, 0, 1]))
    folders = {name: str(source / name) for name in ("images", "labels")}
    supervision.DetectionDataset(["cat", "dog"], [picture], {picture: found}).as_yolo(
        folders["images"], folders["labels"], str(source / "data.yaml")
    )
    return masks


def test_polygons_of_supervision_are_the_masks_but_for_a_pixel(tmp_path, capsys):
    source = tmp_path / "source"
    masks = write_by_supervision(source)
    assert convert("yolo", source, tmp_path / "out") == 1
    assert "data.yaml: got none of train, val, test" in capsys.readouterr().err
    with (source / "data.yaml").open("a") as file:
        file.write("train: images\n")
    assert convert("yolo", source, tmp_path / "out") == 0
    ((name, objects),) = masks_of(tmp_path / "out", "train")
    assert (name, [label for label, _ in objects]) == ("a.png", ["dog", "cat", "dog"])
    for (_, found), mask in zip(objects, masks, strict=True):
        # Its outlines run through the numbers of the outermost pixels, which are these pixels' upper left corners: the
        # last row and column of an object are lacking, and a slanted outline passes through centres of pixels beside.
        inner, outer = (
            change(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) for change in (cv2.erode, cv2.dilate)
        )
        assert found.shape == (HEIGHT, WIDTH)
        assert not np.any(found & ~outer)
        assert not np.any(inner & ~found)
