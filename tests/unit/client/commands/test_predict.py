"""Resumable predictions: what is done is not sent again, and a torn line is mended."""

import dataclasses
import errno
import json
from pathlib import Path
from typing import Any

import pytest
from maskline_client import Detector, ServerUnavailable
from maskline_client.commands.predict import Progress, Shards, predict
from maskline_client.served_model import ModelIdentity, ServedModel
from unit.client.triton_double import (
    BOXES_ALONE,
    CLASSES,
    POINTS,
    REFUSED,
    ROWS,
    WITH_BOTH,
    WITH_KEYPOINTS,
    WITH_MASKS,
    Server,
    file_with,
)

MODEL = ServedModel(CLASSES, WITH_MASKS, ROWS, identity=ModelIdentity("maskrcnn"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    (root / "sub").mkdir(parents=True)
    for i in range(5):
        (root / f"{i}.png").write_bytes(file_with(i))
    (root / "sub" / "0.png").write_bytes(file_with(3))
    (root / "bad.png").write_bytes(REFUSED)
    return root


def run(server: Server, folder: Path, out: Path, shard_lines: int = 3) -> Progress:
    paths = sorted(folder.rglob("*.png"))
    with Detector(server.url, retries=0) as detector:
        return predict(detector, folder, paths, Shards(out, detector.model, shard_lines), in_flight=2)


def lines(out: Path) -> dict[str, dict]:
    records = [json.loads(line) for path in sorted(out.glob("*.jsonl")) for line in path.read_text().splitlines()]
    assert len({record["file"] for record in records}) == len(records)
    return {record["file"]: record for record in records}


def test_every_image_gets_one_line_in_shards_of_equal_length(server: Server, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(server, folder, out) == Progress(done_before=0, predicted=6, refused=1)
    assert [len(path.read_text().splitlines()) for path in sorted(out.glob("*.jsonl"))] == [3, 3, 1]
    found = lines(out)
    assert list(found) == ["0.png", "1.png", "2.png", "3.png", "4.png", "bad.png", "sub/0.png"]
    assert found["2.png"]["names"] == ["circle", "square"]
    assert found["0.png"]["boxes"] == []
    assert "refused the image" in found["bad.png"]["error"]


def test_a_line_holds_what_the_model_tells(server: Server, folder: Path, tmp_path: Path) -> None:
    server.script.outputs = WITH_KEYPOINTS
    run(server, folder, tmp_path / "out")
    found = lines(tmp_path / "out")
    assert "rle" not in found["2.png"]
    assert found["2.png"]["keypoints"] == [
        [3.0, -0.5, 0.75, -0.5, 4.5, 0.5, 6.5, 4.5, 0.25],  # pixel indices, as COCO has them
        [5.0, 0.5, 0.75, 1.5, 5.5, 0.5, 8.5, 5.5, 0.25],
    ]
    assert found["0.png"]["keypoints"] == []
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())["keypoints"] == list(POINTS)


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        (BOXES_ALONE, "the masks True, expected those of this server: False"),
        (WITH_BOTH, "the keypoints none, expected those of this server: top, left end, right end"),
    ],
    ids=["boxes", "both"],
)
def test_a_model_that_tells_something_else_gets_another_folder(
    server: Server, folder: Path, tmp_path: Path, outputs, text: str
) -> None:
    run(server, folder, tmp_path / "out")
    server.script.outputs = outputs
    with pytest.raises(ValueError, match=text):
        run(server, folder, tmp_path / "out")


def test_a_folder_from_before_keypoints_goes_on(server: Server, folder: Path, tmp_path: Path) -> None:
    run(server, folder, tmp_path / "out")
    header = tmp_path / "out" / "predictions.json"
    old = json.loads(header.read_text())
    del old["masks"], old["keypoints"]
    header.write_text(json.dumps(old))
    assert run(server, folder, tmp_path / "out").done_before == 7


def test_a_second_run_sends_nothing(server: Server, folder: Path, tmp_path: Path) -> None:
    run(server, folder, tmp_path / "out")
    calls, before = server.script.calls, lines(tmp_path / "out")
    assert run(server, folder, tmp_path / "out") == Progress(done_before=7, predicted=0, refused=0)
    assert server.script.calls == calls
    assert lines(tmp_path / "out") == before


def test_a_run_after_a_server_failure_goes_on_behind_the_last_line(
    server: Server, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(server, folder, tmp_path / "whole")
    server.script.calls, server.script.failures = 0, 0
    shards = Shards(out, MODEL, 3)
    with Detector(server.url, retries=0) as detector:
        predict(detector, folder, sorted(folder.rglob("*.png"))[:4], shards)
        server.script.failures = 99
        with pytest.raises(ServerUnavailable):
            predict(detector, folder, sorted(folder.rglob("*.png")), Shards(out, MODEL, 3))
    server.script.failures = 0
    assert run(server, folder, out).done_before == 4
    assert {p.name: p.read_bytes() for p in out.iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "whole").iterdir()
    }


def test_shards_that_were_closed_take_further_lines(tmp_path: Path) -> None:
    shards = Shards(tmp_path, MODEL, 3)
    for name in ("a", "b"):
        shards.append({"file": name})
        shards.close()
    assert list(lines(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize("cut", [1, 20, 150])
def test_a_torn_last_line_is_cut_off_and_made_anew(server: Server, folder: Path, tmp_path: Path, cut: int) -> None:
    out = tmp_path / "out"
    run(server, folder, out, shard_lines=100)
    (shard,) = out.glob("*.jsonl")
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-cut])
    assert run(server, folder, out, shard_lines=100).predicted == 1
    assert shard.read_bytes() == whole


def test_a_folder_of_another_model_is_refused(server: Server, folder: Path, tmp_path: Path) -> None:
    run(server, folder, tmp_path / "out")
    with pytest.raises(ValueError, match="expected those of this server: cat, dog"):
        Shards(tmp_path / "out", dataclasses.replace(MODEL, classes=("cat", "dog")))


@pytest.mark.parametrize("line", ["nonsense", "[" * 100_000])
def test_a_line_that_is_no_prediction_is_named(server: Server, folder: Path, tmp_path: Path, line: str) -> None:
    run(server, folder, tmp_path / "out")
    (tmp_path / "out" / "predictions-00001.jsonl").write_text('{"file": "x"}\n' + line + "\n")
    with pytest.raises(ValueError, match=r"predictions-00001\.jsonl:2: not a prediction"):
        Shards(tmp_path / "out", MODEL)


@pytest.mark.parametrize("kind", ["unreadable", "no image"])
def test_what_was_not_sent_is_tried_again_by_the_next_run(
    server: Server, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A network drive that was away, a file half copied: only what the server refused is remembered."""
    broken = folder / "3.png"
    if kind == "no image":
        broken.write_bytes(bytes(100))
    else:
        opened = Path.open

        def refuse(path: Path, *arguments: Any, **named: Any) -> object:
            if path == broken:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return opened(path, *arguments, **named)

        monkeypatch.setattr(Path, "open", refuse)
    first = run(server, folder, tmp_path / "out")
    monkeypatch.undo()
    assert (first.predicted, first.refused) == (5, 1)
    (said,) = first.unread
    assert "3.png" in said
    assert "3.png" not in lines(tmp_path / "out")
    broken.write_bytes(file_with(3))
    assert run(server, folder, tmp_path / "out") == Progress(done_before=6, predicted=1, refused=0)
    assert len(lines(tmp_path / "out")["3.png"]["names"]) == 3
