"""`import --check`: torchvision beside ours, or a golden.json; a network that is another one does not pass."""

from __future__ import annotations

import ast
import dataclasses
import functools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from maskline_train.cli import main
from maskline_train.convert.check.answers import Answer, our_answer
from maskline_train.convert.check.golden import read_golden
from maskline_train.convert.check.run import CheckError, answers_of, run_check
from maskline_train.convert.file import import_file
from maskline_train.convert.options import ImportOptions
from maskline_train.data.images import Pixels
from PIL import Image
from pycocotools import mask as coco_mask
from support.models import foreign
from support.models.torchvision_models import randomise
from support.processes.in_process import call
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

SMALL = {  # of torchvision's constructor and of --set: for speed, and a size at which these pictures are not resized
    "preprocessing.shorter_side_px": 128,
    "preprocessing.longer_side_px": 213,
    "proposals.max_proposals": 60,
    "box_head.max_detections": 30,
}
CLASSES = ("a", "b", "c")
NETWORK = "detectron2/mask_fpn_bgr"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = MaskRCNN(resnet_fpn_backbone(backbone_name="resnet18", weights=None), num_classes=len(CLASSES) + 1)
    randomise(model)
    path = tmp_path_factory.mktemp("torchvision") / "model.pth"
    torch.save(model, path)  # a whole module: its state dict goes into torchvision's constructor
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("astronaut", "coffee"):
        with Image.open(foreign.FOLDER / "images" / f"{name}.png") as image:
            image.convert("RGB").resize((203, 128)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    folder = tmp_path / "golden"
    shutil.copytree(foreign.FOLDER / "images", folder / "images")
    shutil.copy(foreign.FOLDER / NETWORK / "golden.json", folder)
    return folder


def share(printed: str) -> float:
    """Of the detections that both find, in percent."""
    found = re.search(r"found by both, score 0.5 on +([0-9.]+) %", printed)
    assert found is not None, printed
    return float(found[1])


def test_torchvision_finds_the_same(
    weights: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]
    words = ["import", str(weights), str(tmp_path / "out"), "--norm-eps", "1e-5", "--classes", ",".join(CLASSES)]
    assert call(main, *words, *settings, "--check", str(pictures)) == 0
    printed = capsys.readouterr().out
    assert share(printed) == 100
    assert re.search(r"torchvision against *\n.*\nPyTorch +found by both", printed)
    boxes = re.search(r"\n +boxes +\S+ +\S+ +(\S+) +px", printed)
    assert boxes is not None
    assert float(boxes[1]) < 1e-2  # float32 of two orders of summing; another convention moves them by pixels
    masks = re.search(r"\n +masks that are equal +(\S+) %", printed)
    assert masks is not None
    assert float(masks[1]) >= 90  # by torchvision's own rule; by the other one none of them was
    assert f"maskline-export verify {tmp_path}/out ARTIFACT --images {pictures}" in printed


def test_another_side_is_compared_and_named(golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imported = import_file(foreign.checkpoint(NETWORK), detectron2_options())
    own = functools.partial(our_answer, imported.model)
    run_check(imported.model, answers_of(imported, golden), {"a server": own})
    printed = capsys.readouterr().out
    assert re.findall(r"(PyTorch|a server) +found by both, score 0.5 on +([0-9.]+) %", printed) == [
        ("PyTorch", "100.0"),
        ("a server", "100.0"),
    ]

    def shifted(image: Pixels) -> Answer:
        answer = own(image)
        return dataclasses.replace(answer, boxes=answer.boxes + np.float32(30))

    with pytest.raises(
        CheckError, match=r"a server: [0-9.]+ % of \d+ detections .*: PyTorch's answers are the source's"
    ):
        run_check(imported.model, answers_of(imported, golden), {"a server": shifted})


def as_coco(folder: Path, names: tuple[str, ...]) -> Path:
    """What detectron2 found in its pictures, as if someone had drawn it."""
    (folder / "annotations").mkdir(parents=True)
    shutil.copytree(foreign.FOLDER / "images", folder / "val")
    images, annotations = [], []
    for number, golden in enumerate(foreign.goldens(NETWORK).values(), start=1):
        height, width = golden.image.shape[:2]
        images.append({"id": number, "file_name": golden.path.name, "height": height, "width": width})
        assert golden.masks is not None
        for box, label, mask in zip(golden.boxes.tolist(), golden.classes.tolist(), golden.masks, strict=True):
            rle = {**mask, "counts": mask["counts"].encode()}
            annotations.append({
                "id": len(annotations) + 1, "image_id": number, "category_id": label + 1, "iscrowd": 0,
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                "segmentation": mask, "area": float(coco_mask.area(rle)),
            })  # fmt: skip
    categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations" / "instances_val.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_the_ap_of_the_network_and_on_a_list_of_canvases(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = as_coco(tmp_path / "data", foreign.classes(NETWORK))
    words = detectron2_words(tmp_path / "out", golden)[:-2]
    assert call(main, *words, "--data", str(data)) == 0
    printed = capsys.readouterr().out
    found = re.findall(r"^(as imported|on a list of canvases)? +(box|mask) +([0-9.]+) ", printed, re.MULTILINE)
    assert [(side.partition(" ")[0], kind) for side, kind, _ in found] == [
        ("as", "box"), ("", "mask"), ("on", "box"), ("", "mask"),
    ]  # fmt: skip
    own_box, own_mask, list_box, list_mask = (float(ap) for _, _, ap in found)
    assert own_box > 99.9  # what the network finds is what was drawn; two of equal score may come in either order
    assert own_mask > 99
    assert 20 < list_box < own_box  # the padding moves some of them, but it is the same network
    assert 20 < list_mask < own_mask
    as_coco(tmp_path / "other", ("x", "y", *foreign.classes(NETWORK)[2:]))
    assert call(main, *detectron2_words(tmp_path / "no", golden)[:-2], "--data", str(tmp_path / "other")) == 1
    assert "expected the model's" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_another_convention_does_not_pass(weights: Path, pictures: Path) -> None:
    right, wrong = (
        import_file(weights, ImportOptions(classes=CLASSES, norm_eps=1e-5, settings={**SMALL, **more}))
        for more in ({}, {"roi_align.aligned": True})
    )
    with pytest.raises(CheckError, match=r"are found by both \(IoU 0.9, same class\), expected at least 95 %"):
        run_check(wrong.model, answers_of(right, pictures))
    with pytest.raises(ValueError, match=r"--check: torchvision has no argument for roi_align\.aligned"):
        answers_of(wrong, pictures)


def detectron2_options() -> ImportOptions:
    return ImportOptions(config=foreign.FOLDER / NETWORK / "config.yaml", classes=foreign.classes(NETWORK))


def detectron2_words(out: Path, check: Path) -> list[str]:
    classes = str(foreign.FOLDER / NETWORK / "classes.txt")
    config = str(foreign.FOLDER / NETWORK / "config.yaml")
    names = ",".join(Path(classes).read_text("utf-8").split())
    words = ["import", str(foreign.checkpoint(NETWORK)), str(out), "--config", config]
    return [*words, "--classes", names, "--check", str(check)]


def test_detectron2_s_answers_are_read_from_a_file(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(main, *detectron2_words(tmp_path / "out", golden)) == 0
    printed = capsys.readouterr().out
    assert share(printed) == 100
    assert re.search(r"golden.json against *\n.*\nPyTorch +found by both", printed)
    assert "\n3 pictures, 135 pairs of detections\n" in printed
    assert f"ARTIFACT --images {golden}/images\n" in printed
    # The canvas of each of these pictures is 256 x 427 rounded up, or less: on the list's some boxes move.
    said = re.search(
        r"on the canvases 256x448, 448x256, 448x448, .*: ([0-9.]+) % of (\d+) detections in common, boxes", printed
    )
    assert said is not None, printed
    assert 50 < float(said[1]) <= 100
    assert said[2] == "28"


def test_other_answers_fail_and_the_checkpoint_stays(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((golden / "golden.json").read_text("utf-8"))
    for entry in content["images"].values():
        entry["boxes"] = [[side + 30 for side in box] for box in entry["boxes"]]
    (golden / "golden.json").write_text(json.dumps(content), encoding="utf-8")
    assert call(main, *detectron2_words(tmp_path / "out", golden)) == 1
    said = capsys.readouterr()
    assert share(said.out) < 95
    assert len(said.err.splitlines()) == 1
    assert f"{golden}: " in said.err
    assert (tmp_path / "out" / "model.json").exists()


def test_without_answers_nothing_is_written(golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for change, text in (
        (lambda: (golden / "images" / "coffee.png").unlink(), "images/coffee.png: no such file"),
        (lambda: (golden / "golden.json").write_text("[1]"), "golden.json: no answers of images"),
        (lambda: (golden / "golden.json").unlink(), "got a folder without images"),
        (lambda: shutil.copy(golden / "images" / "chelsea.png", golden), "no golden.json, expected detectron2's"),
        (lambda: shutil.rmtree(golden), "no such folder"),
    ):
        change()
        assert call(main, *detectron2_words(tmp_path / "out", golden)) == 1
        said = capsys.readouterr().err
        assert text in said
        assert len(said.splitlines()) == 1
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry.pop("scores"),
        lambda entry: entry["scores"].pop(),
        lambda entry: entry["masks"].pop(),
        lambda entry: entry["masks"].append(3),
        lambda entry: entry.update(boxes="many"),
        lambda entry: entry.update(classes=[None] * len(entry["classes"])),
    ],
)
def test_an_answer_that_is_none_is_named(change: Callable[[dict[str, Any]], object], golden: Path) -> None:
    content = json.loads((golden / "golden.json").read_text("utf-8"))
    change(content["images"]["coffee"])
    (golden / "golden.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match=r"golden.json: the answer to 'images/coffee.png' is none \("):
        read_golden(golden)


# What the script takes from detectron2, which is not installed here: names and shapes of its Instances alone.
STAND_IN = """
import torch
class Instances:
    def __init__(self):
        self.pred_boxes = type("Boxes", (), {"tensor": torch.tensor([[1.0, 2.0, 5.0, 6.0]])})
        self.scores, self.pred_classes = torch.tensor([0.75]), torch.tensor([2])
        self.pred_masks = torch.zeros(1, 8, 9, dtype=torch.bool)
        self.pred_masks[0, 2:6, 1:5] = True
        self.pred_keypoints = torch.tensor([[[1.5, 2.5, 0.9], [3.5, 4.5, 0.8]]])
    def has(self, name): return hasattr(self, name)
    def __len__(self): return 1
class DefaultPredictor:
    def __init__(self, cfg): assert cfg.merged == "config.yaml" and cfg.MODEL.WEIGHTS == "model.pth"
    def __call__(self, picture): return {"instances": Instances()}
class Config:
    MODEL = type("Model", (), {})()
    def merge_from_file(self, path): self.merged = path
get_cfg = Config
def read_image(path, format): assert format == "BGR"
"""


# Likewise of mmdetection 3.x.
MMDETECTION = """
import torch
class Instances:
    def __init__(self):
        self.bboxes, self.scores = torch.tensor([[1.0, 2.0, 5.0, 6.0]]), torch.tensor([0.75])
        self.labels, self.masks = torch.tensor([2]), torch.zeros(1, 8, 9, dtype=torch.bool)
        self.masks[0, 2:6, 1:5] = True
    def __contains__(self, name): return hasattr(self, name)
    def __len__(self): return 1
def init_detector(config, weights, device): return config, weights, device
def inference_detector(network, path):
    assert network == ("config.yaml", "model.pth", "cpu") and path.endswith("a.png")
    return type("Sample", (), {"pred_instances": Instances()})
"""
SCRIPTS = {
    "detectron2": dict.fromkeys(("config", "engine", "data/detection_utils"), STAND_IN),
    "mmdetection": {"apis": MMDETECTION},
}


@pytest.mark.parametrize(("framework", "package"), [("detectron2", "detectron2"), ("mmdetection", "mmdet")])
def test_the_script_for_the_user_s_own_machine_writes_what_is_read(
    framework: str, package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(main, "import", "--golden-script", framework) == 0
    script = capsys.readouterr().out
    ast.parse(script)
    (tmp_path / "golden.py").write_text(script, encoding="utf-8")
    for name, content in SCRIPTS[framework].items():
        path = tmp_path / package / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        (path.parent.parent / "__init__.py").touch()
        path.write_text(content, encoding="utf-8")
    (tmp_path / "in").mkdir()
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "notes.txt").write_text("no image", encoding="utf-8")
    words = [sys.executable, "golden.py", "config.yaml", "model.pth", "in"]
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    ((path, answer),) = read_golden(tmp_path / "in")
    assert path == tmp_path / "in" / "a.png"
    assert answer.boxes.tolist() == [[1, 2, 5, 6]]
    assert (answer.scores.tolist(), answer.labels.tolist()) == ([0.75], [2])
    assert answer.masks is not None
    assert answer.masks[0]["size"] == [8, 9]
    if framework == "detectron2":
        assert answer.keypoints is not None
        assert answer.keypoints.tolist() == [[[1.5, 2.5], [3.5, 4.5]]]
