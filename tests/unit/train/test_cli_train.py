"""The commands as a user types them: what they print, write, and say when something is wrong."""

import json
from pathlib import Path

import pytest
from maskline_train import recipes
from maskline_train.checkpoint import save_model
from maskline_train.cli import app, main
from maskline_train.evaluation.evaluate import Metrics
from maskline_train.paper.commands import show_metrics
from PIL import Image
from pycocotools import mask as coco_mask
from support.data.shapes_data import write_shapes
from support.models.tiny import tiny_model
from support.processes.in_process import call
from typer.testing import CliRunner

RECIPE = str(Path(__file__).parents[2] / "support" / "models" / "tiny_recipe.py")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("data") / "shapes", {"train": 4, "val": 3})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "checkpoint"
    save_model(folder, tiny_model())
    return folder


@pytest.mark.parametrize(
    "command",
    [
        *(("fit",), ("four-step",), ("evaluate",), ("predict",), ("distil",), ("recipes",), ("ablate",), ("new",)),
        *(("data", "digits"), ("data", "figures"), ("data", "cityscapes"), ("data", "check"), ("data", "tiles")),
    ],
    ids=" ".join,
)
def test_help_shows_an_example(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert f"Example: maskline-train {' '.join(command)}" in result.output


def test_evaluate_prints_a_table_and_writes_coco_results(
    data: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / "ap.json"
    code = call(main, "evaluate", str(checkpoint), "--data", str(data), "--max-images", "2", "--json", str(file))
    assert code == 0
    output = capsys.readouterr().out
    for word in ("AP50", "AP75", "APs", "APm", "APl", "box", "mask", "circle", "square", "star", "2 images"):
        assert word in output
    content = json.loads(file.read_text())
    assert content["split"] == "val"
    assert content["num_images"] == 2
    assert content["mask"].keys() == {"AP", "AP50", "AP75", "APs", "APm", "APl"}
    first = content["results"][0]
    assert first.keys() == {"image_id", "category_id", "bbox", "score", "segmentation"}
    assert coco_mask.decode(first["segmentation"]).shape == (96, 128)
    assert list(file.parent.iterdir()) == [file]  # no temporary file is left


def test_names_in_tables_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    ap = {"AP": 0.5}
    names = ("[red]", "[/]", "a:dog:b")
    show_metrics("runs/[bold]/best", Metrics(1, ap, None, {name: {"box": 0.5} for name in names}, []))
    said = capsys.readouterr().out
    for text in ("runs/[bold]/best", *names):
        assert text in said


def test_predict_draws_each_image(
    data: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = sorted(str(path) for path in (data / "val").iterdir())
    assert call(main, "predict", str(checkpoint), *images, "--out", str(tmp_path / "out"), "--score", "0.1") == 0
    drawn = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in drawn] == ["0001.png", "0002.png", "0003.png"]
    with Image.open(drawn[0]) as picture, Image.open(images[0]) as original:
        assert picture.size == (5 * 128, 5 * 96)  # enlarged, so that names can be read
        assert original.size == (128, 96)
        bare = original.convert("RGB").resize(picture.size, Image.Resampling.BICUBIC)
        assert picture.tobytes() != bare.tobytes()  # something was found and drawn
    assert f"{drawn[0]}: " in capsys.readouterr().out


def test_recipes_are_listed_with_their_first_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(main, "recipes") == 0
    lines = capsys.readouterr().out.splitlines()
    listed = dict(line.split(maxsplit=1) for line in lines)
    assert list(listed) == [path.stem for path in sorted(Path(recipes.__path__[0]).glob("*/[!_]*.py"))]
    assert len({line.index(listed[name], len(name)) for name, line in zip(listed, lines, strict=True)}) == 1
    assert listed["mask_rcnn_r50_fpn"].startswith("Mask R-CNN with ResNet-50-FPN on COCO: the paper's baseline")
    assert all("Not the paper's" in line for name, line in listed.items() if name.startswith("digits"))


def test_data_digits_makes_a_set_that_data_check_accepts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "digits"
    assert call(main, "data", "digits", str(out), "--train-images", "2", "--val-images", "1", "--seed", "5") == 0
    capsys.readouterr()
    assert call(main, "data", "check", str(out)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" (")[0] for line in lines] == [
        *("train: 2 images", "val: 1 images"),
        f"Next: maskline-train new {tmp_path / 'digits'}",
    ]


def test_data_figures_makes_a_set_whose_model_trains_evaluates_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command takes the kind of the annotations; a table with a row of keypoints comes out."""
    data, out, kind = tmp_path / "figures", tmp_path / "run", ("--annotations", "person_keypoints")
    assert call(main, "data", "figures", str(data), "--train-images", "2", "--val-images", "2") == 0
    assert call(main, "data", "check", str(data), *kind) == 0
    fit = ("fit", "figures_keypoints", "--data", str(data), "--out", str(out), "--steps", "1", "--total-batch", "1")
    assert call(main, *fit) == 1
    assert "(for person_keypoints_train, person_keypoints_val see --annotations)" in capsys.readouterr().err
    assert call(main, *fit, *kind) == 0
    best = str(out / "last")
    assert call(main, "evaluate", best, "--data", str(data), *kind) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip(" │┃").startswith("keypoint")]
    assert len(rows[0]) > 5
    picture = data / "val" / "000001.jpg"
    assert call(main, "predict", best, str(picture), "--out", str(tmp_path / "drawn"), "--score", "0") == 0
    assert (tmp_path / "drawn" / "000001.png").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("fit", "nothing", "--data", "DATA", "--out", "OUT"), "got 'nothing', expected a .py file or one of"),
        (("fit", RECIPE, "--data", "OUT", "--out", "OUT"), "no such file; expected ROOT/annotations"),
        (("fit", RECIPE, "--data", "DATA", "--out", "OUT", "--init", "OUT/weights.pth"), "no such file"),
        (("evaluate", "OUT", "--data", "DATA"), "no model.json; expected a checkpoint folder"),
        (("evaluate", "MODEL", "--data", "DATA", "--split", "test"), "splits with annotations there: train, val"),
        (("predict", "MODEL", "DATA/annotations/instances_val.json", "--out", "OUT"), "cannot be decoded"),
        (("predict", "MODEL", "a/x.png", "b/x.jpg", "--out", "OUT"), "two images would be written there"),
        (("predict", "MODEL", "a/x.png", "--out", "OUT"), "a/x.png: got no such file, expected an image"),
        (("data", "digits", "DATA"), "exists already, expected a new folder"),
    ],
)
def test_a_failure_is_one_line_on_stderr_and_writes_nothing(
    words: tuple[str, ...],
    message: str,
    data: Path,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"DATA": str(data), "OUT": str(tmp_path / "out"), "MODEL": str(checkpoint)}
    filled = []
    for word in words:
        for name, place in places.items():
            word = place + word.removeprefix(name) if word == name or word.startswith(f"{name}/") else word
        filled.append(word)
    assert call(main, *filled) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("maskline-train: ")
    assert message in captured.err
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not written


@pytest.mark.parametrize(
    "words",
    [
        ("fit", RECIPE, "--data", "DATA", "--out", "OUT", "--total-batch", "0"),
        ("fit", RECIPE, "--data", "DATA", "--out", "OUT", "--steps", "-1"),
        ("evaluate", "MODEL", "--data", "DATA", "--max-images", "-1"),
        ("evaluate", "MODEL", "--data", "DATA", "--batch", "0"),
        ("four-step", RECIPE, "--data", "DATA", "--out", "OUT", "--steps", "0"),
        ("ablate", "table_2c", "--data", "DATA", "--out", "OUT", "--total-batch", "0"),
        ("data", "digits", "OUT", "--train-images", "0"),
    ],
)
def test_a_number_out_of_range_is_refused_before_anything_is_read(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(main, *words) == 2
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())  # without the frame
    assert "greater than or equal to 1" in said
