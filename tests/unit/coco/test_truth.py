"""The ground truth of COCOeval: what the ids of a file are does not change a score."""

import json
from pathlib import Path

import pytest
from maskline_coco.annotation_file import read_instances
from maskline_coco.metric import average_precision
from maskline_coco.truth import Categories, ground_truth
from support.data.coco_files import annotation, square, write

LARGEST = 2**63 - 1


def scored(path: Path) -> dict[str, float | None]:
    """The AP of answers that are the annotations themselves."""
    categories, keypoint_names, records = read_instances(path)
    truth = ground_truth(records, Categories(tuple(categories), tuple(categories.values()), keypoint_names))
    answers = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "score": 1.0, "bbox": a["bbox"]}
        for a in json.loads(path.read_text())["annotations"]
    ]
    found, _ = average_precision(truth, answers, "bbox", [record.id for record in records])
    return found


@pytest.mark.parametrize("key", [0, 1, -1, 7, LARGEST, -LARGEST])
def test_a_perfect_answer_scores_one_whatever_the_id_of_the_annotation(tmp_path: Path, key: int) -> None:
    assert scored(write(tmp_path, annotations=[annotation(key)]))["AP"] == pytest.approx(1)


@pytest.mark.parametrize("key", [0, -5, LARGEST, -LARGEST])
def test_nor_do_the_ids_of_images_and_categories(tmp_path: Path, key: int) -> None:
    images = [{"id": i, "file_name": name, "height": 20, "width": 30} for i, name in ((key, "a.png"), (1, "b.png"))]
    path = write(
        tmp_path,
        images=images,
        categories=[{"id": key, "name": "cat"}, {"id": 2, "name": "dog"}],
        annotations=[annotation(0, key, key), annotation(1, 1, 2, bbox=[1, 1, 4, 4], segmentation=square(1, 1, 4))],
    )
    assert scored(path)["AP"] == pytest.approx(1)


@pytest.mark.parametrize("area", [1e10 + 1, 1e300, 10**400])
def test_an_area_larger_than_the_image_does_not_hide_the_object(tmp_path: Path, area: float) -> None:
    """COCOeval counts no object of more than 1e10 pixels."""
    assert scored(write(tmp_path, annotations=[annotation(1, area=area)]))["AP"] == pytest.approx(1)
