"""Test-time augmentation: every view agrees with plain detection, mirrors undo themselves, averages are averages."""

import dataclasses

import numpy as np
import pytest
import torch
from maskline_train.checkpoint import save_model
from maskline_train.cli import main
from maskline_train.data.canvas import preprocess_batch
from maskline_train.data.coco import CocoDataset
from maskline_train.distributed import Processes
from maskline_train.evaluation.evaluate import evaluate, to_results
from maskline_train.evaluation.many_views import PAPER_VIEWS, View, detect_augmented
from maskline_train.spec import KeypointHeadSpec
from support.data.shapes_data import write_shapes
from support.models.tiny import tiny_model, tiny_spec
from support.processes.in_process import call
from torchvision.ops import box_iou

PLAIN, MIRRORED = View(1.0, flipped=False), View(1.0, flipped=True)
NAMES = ("nose", "left eye", "right eye", "left ear", "right ear")
PAIRS = (("left eye", "right eye"), ("left ear", "right ear"))
ATOL = 2e-3  # px: the sums of a mirrored convolution run in another order


def keypoint_model():
    head = KeypointHeadSpec(NAMES, flip_pairs=PAIRS, pooled_side=4, num_convs=1, channels=4)
    model = tiny_model(dataclasses.replace(tiny_spec(), keypoint_head=head))
    with torch.no_grad():
        model.keypoint_head.keypoint_logits.weight.mul_(100)
    return model


def image_of(height=96, width=128, seed=0):
    """Noise under coarse blocks: something to find, nowhere the same."""
    rng = np.random.default_rng(seed)
    blocks = np.kron(rng.integers(0, 200, (height // 16, width // 16, 3)), np.ones((16, 16, 1)))
    return (blocks + rng.integers(0, 50, (height, width, 3))).astype(np.uint8)


def mirror_of(image):
    return np.ascontiguousarray(image[:, ::-1])


def assert_mirrored(a, b, width, flip_order):
    """Two detections of an image and of its mirror image."""
    count = int(a.num_detections[0])
    assert count == int(b.num_detections[0]) > 3
    assert torch.equal(a.labels, b.labels)
    torch.testing.assert_close(a.scores, b.scores, rtol=0, atol=1e-4)
    boxes = b.boxes[0, :count]
    expected = torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], dim=1)
    torch.testing.assert_close(a.boxes[0, :count], expected, rtol=0, atol=ATOL)
    torch.testing.assert_close(a.masks[0, :count], b.masks[0, :count].flip(2), rtol=0, atol=1e-2)
    if a.keypoints is not None:
        points = b.keypoints[0, :count][:, list(flip_order)]
        expected = torch.stack([width - points[..., 0], points[..., 1], points[..., 2]], dim=2)
        sure = a.keypoints[0, :count, :, 2] > 0.02  # a flat heatmap has no one best cell
        assert sure.sum() > 10
        torch.testing.assert_close(a.keypoints[0, :count][sure], expected[sure], rtol=0, atol=0.05)


def test_the_views_are_the_papers():
    spec = tiny_spec()
    assert sorted({round(800 * view.scale) for view in PAPER_VIEWS}) == list(range(400, 1201, 100))
    assert len(PAPER_VIEWS) == 18
    assert sum(view.flipped for view in PAPER_VIEWS) == 9
    assert spec.preprocessing.shorter_side_px == 96  # scales follow the spec, whatever its size


@pytest.mark.parametrize("size", [(96, 128), (144, 192), (64, 112)])
def test_one_plain_view_is_plain_detection(size):
    model, image = keypoint_model(), image_of(*size)
    canvas, info = preprocess_batch([image], model.spec.preprocessing)
    plain = model.detect(torch.from_numpy(canvas), torch.from_numpy(info))
    (expected,) = to_results(plain, info, [1], (1, 2, 3), "aligned")
    found = detect_augmented(model, image, [PLAIN])
    identity = np.array([[*size, 1, 1, *size]], np.float32)
    (results,) = to_results(found, identity, [1], (1, 2, 3), "aligned")
    assert len(results) == len(expected) > 3
    for a, b in zip(results, expected, strict=True):
        assert a["category_id"] == b["category_id"]
        assert a["score"] == pytest.approx(b["score"], abs=1e-5)
        np.testing.assert_allclose(a["bbox"], b["bbox"], atol=ATOL)
        np.testing.assert_allclose(a["keypoints"], b["keypoints"], atol=0.02)


def test_a_mirrored_view_sees_the_mirrored_image():
    """The view alone: what plain detection finds in the mirror image, mirrored back, left and right swapped."""
    model, image = keypoint_model(), image_of()
    flip_order = model.spec.keypoint_head.flip_order
    found = detect_augmented(model, image, [MIRRORED])
    plain = detect_augmented(model, mirror_of(image), [PLAIN])
    assert_mirrored(found, plain, 128, flip_order)
    assert flip_order == (0, 2, 1, 4, 3)


def test_with_both_views_an_image_and_its_mirror_image_give_mirrored_answers():
    model, image = keypoint_model(), image_of(seed=3)
    a = detect_augmented(model, image, [PLAIN, MIRRORED])
    b = detect_augmented(model, mirror_of(image), [MIRRORED, PLAIN])
    assert_mirrored(a, b, 128, model.spec.keypoint_head.flip_order)
    alone = detect_augmented(model, image, [PLAIN])
    assert not torch.allclose(alone.scores, a.scores, atol=1e-3)  # the mirrored view added something


def test_a_view_twice_changes_nothing():
    model, image = keypoint_model(), image_of()
    once, twice = detect_augmented(model, image, [PLAIN]), detect_augmented(model, image, [PLAIN, PLAIN])
    for a, b in zip(once, twice, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_masks_are_the_mean_of_the_views_on_the_merged_boxes():
    model, image = tiny_model(), image_of()
    views = [PLAIN, View(1.5, flipped=False)]
    found = detect_augmented(model, image, views)
    count = int(found.num_detections[0])
    boxes, labels = found.boxes[:, :count], found.labels[:, :count]
    masks = []
    for view in views:
        spec = dataclasses.replace(
            model.spec.preprocessing,
            shorter_side_px=round(96 * view.scale),
            longer_side_px=round(128 * view.scale),
            canvases=((96, 128), (160, 192)),
        )
        canvas, info = preprocess_batch([image], spec)
        features = model.backbone(torch.from_numpy(canvas), torch.from_numpy(info))
        masks.append(model.detect_masks(features, boxes * view.scale, labels)[0])
    assert not torch.allclose(masks[0], masks[1], atol=1e-2)
    torch.testing.assert_close(found.masks[0, :count], (masks[0] + masks[1]) / 2, rtol=0, atol=1e-4)
    assert found.masks[0, count:].eq(0).all()


def test_boxes_of_all_views_meet_in_one_nms():
    """Of overlapping boxes of a class, whatever view they are from, the best is left; no more than D in all."""
    model, image = tiny_model(), image_of()
    views = [View(scale, flipped) for scale in (0.75, 1.0, 1.25) for flipped in (False, True)]
    found = detect_augmented(model, image, views)
    count = int(found.num_detections[0])
    boxes, scores, labels = (x[0, :count] for x in (found.boxes, found.scores, found.labels))
    assert bool((scores[:-1] >= scores[1:]).all())
    iou = box_iou(boxes, boxes) * (labels[:, None] == labels[None]) - torch.eye(count)
    assert iou.max() <= model.spec.box_head.nms_thresh + 1e-6
    best = max(detect_augmented(model, image, [view]).scores[0, 0] for view in views)
    assert scores[0] == best
    assert boxes.min() >= 0
    assert bool((boxes <= torch.tensor([128.0, 96, 128, 96]) + 1e-3).all())


def test_an_empty_answer_has_no_row():
    model = tiny_model()
    nothing = dataclasses.replace(model.spec.box_head, score_thresh=1.0)
    model.spec = dataclasses.replace(model.spec, box_head=nothing)
    found = detect_augmented(model, image_of(), [PLAIN, MIRRORED])
    assert found.num_detections.tolist() == [0]
    assert found.labels.eq(-1).all()
    assert found.masks.shape == (1, 100, 28, 28)


def test_evaluate_scores_what_the_views_find(tmp_path, capsys):
    data = write_shapes(tmp_path / "data", {"val": 2})
    dataset, model = CocoDataset(data, "val"), tiny_model()
    processes = Processes(0, 1, torch.device("cpu"))
    plain = evaluate(model, dataset, processes)
    one_view = evaluate(model, dataset, processes, views=[PLAIN])
    assert len(plain.results) == len(one_view.results)
    assert one_view.box["AP"] == pytest.approx(plain.box["AP"], abs=1e-6)
    save_model(tmp_path / "model", model)
    assert call(main, "evaluate", str(tmp_path / "model"), "--data", str(data), "--tta", "--max-images", "1") == 0
    assert "1 images" in capsys.readouterr().out
    words = ("evaluate", str(tmp_path / "model"), "--data", str(data), "--tta", "--rpn", str(tmp_path / "model"))
    assert call(main, *words) == 1
    assert "expected one of them" in capsys.readouterr().err
