"""The client scores what a server answers exactly as training scores what the model answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from maskline_client import rle
from maskline_client.commands import evaluate as client
from maskline_client.served_model import KeypointNames
from maskline_train.data.coco import CocoDataset
from maskline_train.data.made.figures import FLIP_PAIRS, KEYPOINTS, SIGMAS, make_figures
from maskline_train.evaluation import evaluate as train
from maskline_train.spec import KeypointHeadSpec


def test_client_and_training_give_the_same_statistics(tmp_path: Path) -> None:
    root = tmp_path / "figures"
    make_figures(root, train_images=1, val_images=6)
    truth = json.loads((root / "annotations" / "person_keypoints_val.json").read_text())["annotations"]
    rng = np.random.default_rng(0)
    results = []
    for entry in truth:
        x, y, width, height = (float(value) for value in np.array(entry["bbox"]) + rng.normal(0, 2, 4))
        points = np.array(entry["keypoints"], float).reshape(-1, 3) + rng.normal(0, 1.5, (len(KEYPOINTS), 3))
        results.append(
            {
                "image_id": entry["image_id"],
                "category_id": entry["category_id"],
                "bbox": [x, y, max(1.0, width), max(1.0, height)],
                "segmentation": entry["segmentation"],
                "keypoints": points.ravel().tolist(),
                "score": float(rng.uniform()),
            }
        )
        # An error whose box is of medium size and whose mask is small: which of the two sizes counts shows in APs, APm.
        height_px, width_px = entry["segmentation"]["size"]
        stick = np.zeros((height_px, width_px), bool)
        stick[20:60, 20] = True
        wrong = {"size": [height_px, width_px], "counts": rle.from_mask(stick).decode()}
        results.append({**results[-1], "bbox": [0.0, 20.0, 40.0, 40.0], "segmentation": wrong, "score": 0.99})
    dataset = CocoDataset(root, "val", "person_keypoints")
    head = KeypointHeadSpec(names=KEYPOINTS, flip_pairs=FLIP_PAIRS, sigmas=SIGMAS)
    expected = train.score(dataset, results, dataset.image_ids, keypoint_head=head)
    split = client.read_split(root, "val", annotations="person_keypoints")
    found = client.score(split, results, masks=True, keypoints=KeypointNames(KEYPOINTS, FLIP_PAIRS, SIGMAS))
    assert (found.box, found.mask, found.keypoint) == (expected.box, expected.mask, expected.keypoint)
    assert 0 < found.keypoint["AP"] < 1
