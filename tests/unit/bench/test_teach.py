"""What the serving benchmark's network is taught on, and that it learns it."""

import dataclasses

import pytest
import torch
from maskline_bench.both_models import QUICK, make_other_pictures, make_peer, make_pictures
from maskline_bench.peers import to_float
from maskline_bench.teach import _MOVED_COPIES, _moved_copies
from torchvision.ops import box_iou

# One small photograph and few lessons: half a minute.
SMALL = dataclasses.replace(QUICK, image=(48, 72), objects=4, lessons=40, pictures=1, proposals=50)


def test_the_other_pictures_show_other_objects() -> None:
    timed, others = make_pictures(SMALL), make_other_pictures(SMALL)
    assert (len(timed), len(others)) == (1, 10)
    assert all(not torch.equal(timed[0].boxes, other.boxes) for other in others)


def test_moved_copies_lie_about_their_objects() -> None:
    torch.manual_seed(0)
    objects = torch.tensor([[100.0, 100, 140, 180], [300, 40, 420, 90]])
    copies = _moved_copies(objects)
    assert copies.shape == (2 * _MOVED_COPIES, 4)
    assert (copies[:, 2:] > copies[:, :2]).all()
    overlap = box_iou(copies, objects)
    assert (overlap.argmax(1) == torch.arange(2).repeat(_MOVED_COPIES)).all()
    assert overlap.max(1).values.min() < 0.5 < overlap.max()  # objects and what lies beside them


def test_a_taught_network_finds_what_was_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskline_bench.both_models.make_other_pictures", lambda setting: [])
    pictures, lines = make_pictures(SMALL), []
    found = make_peer(SMALL, pictures, lines.append)([to_float(pictures[0].picture)])[0]
    sure = found["scores"] >= 0.5
    drawn = box_iou(pictures[0].boxes, found["boxes"][sure]) >= 0.5
    right = drawn & (pictures[0].labels[:, None] + 1 == found["labels"][sure])
    assert right.any(1).float().mean() >= 0.5
    assert sure.sum() <= 2 * len(pictures[0].boxes)  # hardly one object is found twice
    assert {line.split()[2] for line in lines if line.startswith("teaching")} == {"rpn", "box", "mask"}
