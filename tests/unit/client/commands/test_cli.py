"""The commands as a user runs them: output, files, one line on stderr and an exit code on failure."""

import contextlib
import errno
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from maskline_client import Detections, rle
from maskline_client.cli import main
from maskline_client.commands.detect import Answer, Report, plan
from maskline_client.files import write_json, write_png
from maskline_client.served_model import ServedModel
from maskline_show.picture import PALETTE
from PIL import Image
from support.processes import in_process
from unit.client.commands.test_evaluate import write_keypoint_data
from unit.client.triton_double import (
    BOXES_ALONE,
    CLASSES,
    POINTS,
    SIZE,
    WITH_BOTH,
    WITH_KEYPOINTS,
    WITH_MASKS,
    Server,
    file_with,
    points_of,
)

COMMANDS = ("detect", "evaluate", "predict", "bench", "compare", "health")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in this process: starting Python with all it imports takes a second, and much more under load."""
    words = list(map(str, arguments))
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        status = in_process.call(main, *words)
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


def photo(path: Path) -> Path:
    """A real image of the size the scripted server answers for; its last byte (PNG's checksum) asks for 5 objects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*SIZE, 3), 200, np.uint8)).save(path)
    return path


def assert_one_line(result: subprocess.CompletedProcess[str], code: int, text: str) -> None:
    assert result.returncode == code, result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("maskline-client: ")
    assert text in result.stderr


def test_the_installed_command_starts_and_fails_as_a_program_does() -> None:
    command = [Path(sys.executable).with_name("maskline-client"), "health", "--url", "nonsense"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert_one_line(result, 2, "got 'nonsense', expected host:port")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.returncode == 0
    assert f"maskline-client {command}" in result.stdout


def test_detect_writes_pictures_and_coco_json(server: Server, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png")
    photo(tmp_path / "in" / "sub" / "a.png")
    out = tmp_path / "out"
    result = run("detect", tmp_path / "in", photo(tmp_path / "b.png"), "--out", out, "--url", server.url)
    assert result.returncode == 0, result.stderr
    assert "circle" in result.stdout
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()) == [
        "a.png",
        "b.png",
        "detections.json",
        "sub/a.png",
    ]
    assert Image.open(out / "b.png").size == (SIZE[1] * 24, SIZE[0] * 24)  # 20 px become 480
    data = json.loads((out / "detections.json").read_text())
    assert [image["file_name"] for image in data["images"]] == [
        "in/a.png",
        "in/sub/a.png",
        "b.png",
    ]
    assert {c["id"]: c["name"] for c in data["categories"]} == {1: "circle", 2: "square", 3: "star"}
    assert all(a["score"] >= 0.5 and a["area"] == 35 for a in data["annotations"])
    assert [a["id"] for a in data["annotations"]] == list(range(1, len(data["annotations"]) + 1))
    assert not list(out.rglob(".*"))


def test_detect_writes_what_a_model_of_keypoints_tells(server: Server, tmp_path: Path) -> None:
    server.script.outputs = WITH_KEYPOINTS
    result = run("detect", photo(tmp_path / "a.png"), "--out", tmp_path / "out", "--url", server.url)
    assert result.returncode == 0, result.stderr
    assert "mask px" not in result.stdout
    data = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert data["categories"][0] == {"id": 1, "name": "circle", "keypoints": list(POINTS), "skeleton": []}
    assert "segmentation" not in data["annotations"][0]
    assert data["annotations"][0]["area"] == 35
    assert data["annotations"][0]["num_keypoints"] == 3
    assert data["annotations"][1]["keypoints"] == [5.0, 0.5, 2, 1.5, 5.5, 2, 8.5, 5.5, 2]
    assert data["annotations"][1]["keypoint_scores"] == [0.75, 0.5, 0.25]
    picture = np.asarray(Image.open(tmp_path / "out" / "a.png"))
    for j, (x, y, _) in enumerate(points_of(2)):
        assert tuple(picture[int(24 * y), int(24 * x)]) == PALETTE[j]


def test_detect_writes_boxes_alone(server: Server, tmp_path: Path) -> None:
    server.script.outputs = BOXES_ALONE
    result = run("detect", photo(tmp_path / "a.png"), "--out", tmp_path / "out", "--url", server.url)
    assert result.returncode == 0, result.stderr
    data = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert data["categories"][0] == {"id": 1, "name": "circle"}
    expected = {"id", "image_id", "category_id", "bbox", "score", "area", "iscrowd"}
    assert [set(annotation) for annotation in data["annotations"]] == [expected] * 5
    plain = np.asarray(Image.open(tmp_path / "out" / "a.png"))[60, 60]
    assert tuple(plain) == (200, 200, 200)  # inside the first box: no mask tints it


@pytest.mark.parametrize(("counts", "area"), [(rle.from_mask(np.eye(*SIZE)), 20), (None, 600)], ids=["mask", "box"])
def test_an_area_is_the_masks_or_the_boxs(counts: bytes | None, area: int) -> None:
    """The diagonal of a picture of 20 x 30 px, in a box that is the whole picture."""
    box, label = np.array([[0, 0, 30, 20]], np.float32), np.zeros(1, np.int32)
    masks = None if counts is None else (counts,)
    found = Detections(box, np.ones(1, np.float32), label, ("circle",), masks, SIZE)
    model = ServedModel(CLASSES, BOXES_ALONE if counts is None else WITH_MASKS, 5)
    (annotation,) = Report([Answer(Path("a.png"), found)], []).to_coco(model, Path.cwd())["annotations"]
    assert annotation["area"] == area


def test_evaluate_prints_a_row_for_each_kind_of_answer(server: Server, tmp_path: Path) -> None:
    server.script.outputs = WITH_BOTH
    arguments = ("evaluate", "--data", write_keypoint_data(tmp_path), "--url", server.url)
    result = run(*arguments, "--annotations", "person_keypoints", "--json", tmp_path / "ap.json")
    assert result.returncode == 0, result.stderr
    rows = {row.split()[1]: row.split()[3::2] for row in result.stdout.splitlines() if row.startswith("│")}
    assert rows["box"] == rows["mask"] == ["100.00"] * 4 + ["-"] * 2
    assert rows["keypoint"] == ["100.00"] * 3 + ["-"] * 3
    scores = json.loads((tmp_path / "ap.json").read_text())
    assert scores["keypoint"]["AP"] == pytest.approx(1)
    assert_one_line(run(*arguments), 2, "files with keypoints are read with --annotations person_keypoints")


def test_detect_goes_on_after_a_refused_image_and_says_so_at_the_end(server: Server, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.png").write_bytes(b"text")
    photo(tmp_path / "in" / "good.png")
    result = run("detect", tmp_path / "in", "--out", tmp_path / "out", "--url", server.url)
    assert_one_line(result, 2, "bad.png: got a file that begins with b'text'")
    assert (tmp_path / "out" / "good.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("detect", "missing.jpg"), 2, "missing.jpg: got no such file or folder"),
        (("detect", ".", "--url", "http://x"), 2, "expected host:port"),
        (("health", "--url", "127.0.0.1:1"), 3, "no server answers"),
        (("predict", "missing", "--out", "o"), 2, "missing: got no folder of that name"),
        (("evaluate", "--url", "127.0.0.1:1", "--data", "missing"), 2, "no such file; expected ROOT/annotations"),
        (("health", "--tls-ca", "missing.pem"), 2, "missing.pem cannot be read"),
    ],
)
def test_a_failure_is_one_line_and_a_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, text: str
) -> None:
    photo(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert_one_line(run(*arguments), code, text)
    assert not (tmp_path / "o").exists()


def test_an_unknown_option_is_wrong_usage() -> None:
    result = run("detect", "--colour")
    assert result.returncode == 2
    assert "No such option" in result.stderr


def test_a_deadline_and_another_contract_have_codes_of_their_own(server: Server, tmp_path: Path) -> None:
    image = photo(tmp_path / "a.png")
    server.script.sleep_s = 60
    assert_one_line(run("detect", image, "--url", server.url, "--deadline", 0.5), 5, "no answer within 0.5 s")
    server.script.sleep_s = 0
    server.script.labels = "[]"
    assert_one_line(run("detect", image, "--url", server.url), 4, "expected a JSON list of class names")


def test_health_names_the_model_that_is_not_loaded(server: Server) -> None:
    result = run("health", "--url", server.url)
    assert_one_line(result, 3, "the model mask is not loaded")
    assert "model preprocess" in result.stdout
    assert "contract maskrcnn_engines" in result.stdout


def test_deep_health_notices_an_answer_that_makes_no_sense(server: Server) -> None:
    """The scripted server answers every image as if it had 20x30 px: the test picture has another size."""
    result = run("health", "--url", server.url, "--deep")
    assert "got the image size (20, 30), expected (96, 128)" in " ".join(result.stdout.split()).replace("│ ", "")


def test_predict_says_what_it_did_and_what_was_done(server: Server, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png")
    arguments = ("predict", tmp_path / "in", "--out", tmp_path / "out", "--url", server.url)
    assert "1 images predicted, 0 refused, 0 were done before" in run(*arguments).stdout
    assert "0 images predicted, 0 refused, 1 were done before" in run(*arguments).stdout


def test_pictures_of_one_name_do_not_replace_each_other(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "a.webp"):
        (tmp_path / name).write_bytes(file_with(1))
    jobs = plan([tmp_path], tmp_path / "out")
    assert [job.picture.name for job in jobs if job.picture] == ["a.png", "a-2.png", "a-3.png"]


def test_pictures_of_an_earlier_run_are_not_sent(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    photo(tmp_path / "out" / "a.png")
    assert [job.path for job in plan([tmp_path], tmp_path / "out")] == [tmp_path / "a.png"]


def test_no_picture_replaces_an_image_that_was_sent(server: Server, tmp_path: Path) -> None:
    """`a.png` drawn into its own folder would be written over the photograph, and `a.jpg` over a neighbour `a.png`."""
    image = photo(tmp_path / "in" / "a.png")
    before = image.read_bytes()
    for named, out in ((image, image.parent), (image.parent, image.parent), (image.parent, tmp_path)):
        result = run("detect", named, "--out", out, "--url", server.url)
        assert_one_line(result, 2, f"--out {out}: got the folder that {named} is in")
    assert image.read_bytes() == before
    assert server.script.calls == 0


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": True})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, float("nan"))

    def fill(written: Path, data: bytes) -> None:
        """The disk is full in the middle of it; the error of the system names no file."""
        with written.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(OSError, match=r"No space left.*a\.json"):
        write_png(path, Image.new("RGB", (4, 4)))
    assert json.loads(path.read_text()) == {"old": True}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_names_are_printed_as_they_are(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """[bold] and :x: are words of the library that prints."""
    monkeypatch.chdir(tmp_path)  # short names: a table folds long ones
    photo(Path("in/a:x:[bold].png"))
    result = run("detect", "in", "--out", "o[old]:100:", "--url", server.url)
    assert "in/a:x:[bold].png" in result.stdout
    assert "in o[old]:100:\n" in result.stdout


def test_a_pipe_gets_whole_lines_and_json_on_demand(server: Server, tmp_path: Path) -> None:
    """Paths were cut to fit a width that a pipe does not have."""
    path = photo(tmp_path / ("a very long name " * 10) / "a.png")
    rows = [line.split("\t") for line in run("detect", path, "--url", server.url).stdout.splitlines()]
    assert [row[:3] for row in rows[:2]] == [[str(path), "circle", "0.900"], [str(path), "square", "0.800"]]
    assert rows[0][3:] == ["0.0 0.0 7.0 5.0", "35"]
    out = tmp_path / "out"
    (line,) = run("detect", path, "--url", server.url, "--json", "--out", out).stdout.splitlines()
    record = json.loads(line)
    assert record["file"] == str(path)
    assert record["names"][:2] == ["circle", "square"]
    assert record["boxes"][0] == [0, 0, 7, 5]
