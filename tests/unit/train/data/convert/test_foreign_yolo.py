"""Label files that supervision wrote, not we, become the masks that it was given."""

import numpy as np
import supervision
from support.data.converted import convert, masks_of
from support.data.foreign_labels import within_a_pixel
from support.data.mask_files import IDS, id_map, write_picture


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
    assert "got 1 picture, expected at least 2, one for train and one for val" in capsys.readouterr().err
    with (source / "data.yaml").open("a") as file:
        file.write("train: images\n")
    assert convert("yolo", source, tmp_path / "out") == 0
    ((name, objects),) = masks_of(tmp_path / "out", "train")
    assert (name, [label for label, _ in objects]) == ("a.png", ["dog", "cat", "dog"])
    assert all(within_a_pixel(found, mask) for (_, found), mask in zip(objects, masks, strict=True))
