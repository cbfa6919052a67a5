"""An evaluation in which not every image is answered: no score, and what was received is kept."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import grpc
import pytest
from maskline_client.cli import main
from maskline_client.commands import evaluate as evaluation
from support.processes.in_process import call
from unit.client.commands.test_evaluate import write_data
from unit.client.triton_double import REFUSED, Server


def evaluate(server: Server, root: Path) -> int:
    words = ["evaluate", "--url", server.url, "--data", str(root), "--results", str(root / "found.json")]
    return call(main, *words, "--json", str(root / "ap.json"), "--in-flight", "1")


def kept(root: Path) -> list[int]:
    """The images of the detections that were kept, under the name that says what they are."""
    assert not (root / "found.json").exists()
    assert not (root / "ap.json").exists()
    return [result["image_id"] for result in json.loads((root / "found.partial.json").read_text())]


def test_a_refused_and_an_unreadable_image_are_named_and_the_others_kept(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_data(tmp_path, image_ids=(1, 2, 3, 4))
    monkeypatch.setattr(evaluation, "check_headers", lambda *_: None)  # they become so once it was looked at them
    (root / "val" / "2.png").write_bytes(REFUSED)
    (root / "val" / "3.png").write_bytes(b"text")
    assert evaluate(server, root) == 2
    assert kept(root) == [1, 1, 1, 4, 4, 4]
    said = capsys.readouterr()
    assert said.out == ""
    part, refused, unread = said.err.splitlines()
    assert "2 of 4 images were answered" in part
    assert f"their detections are in {root / 'found.partial.json'}" in part
    assert f"{root / 'val' / '2.png'}: " in refused
    assert f"{root / 'val' / '3.png'}: got a file that begins with b'text'" in unread


def test_a_server_that_fails_leaves_what_it_answered(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_data(tmp_path, image_ids=(1, 2, 3))
    answered = server.script.images

    class Failing(list):  # type: ignore[type-arg]
        def append(self, image: bytes) -> None:
            super().append(image)
            server.script.failures, server.script.code = 99 * (len(answered) > 1), grpc.StatusCode.INTERNAL

    server.script.images = answered = Failing()
    assert evaluate(server, root) == 1
    assert kept(root) == [1, 1, 1, 2, 2, 2]
    part, error = capsys.readouterr().err.splitlines()
    assert "2 of 3 images were answered" in part
    assert f"{root / 'val' / '3.png'}: " in error
    assert "INTERNAL" in error


def test_ctrl_c_leaves_what_was_answered(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_data(tmp_path, image_ids=(1, 2, 3))
    write = evaluation.Answers.__setattr__

    def interrupting(answers: evaluation.Answers, name: str, value: object) -> None:
        write(answers, name, value)
        if name == "num_images" and value == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(evaluation.Answers, "__setattr__", interrupting)
    assert evaluate(server, root) == 130
    assert kept(root) == [1, 1, 1, 2, 2, 2]
    assert "2 of 3 images were answered" in capsys.readouterr().err


def test_without_a_file_for_them_the_option_is_named(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_data(tmp_path, image_ids=(1, 2))
    monkeypatch.setattr(evaluation, "check_headers", lambda *_: None)
    (root / "val" / "2.png").write_bytes(REFUSED)
    assert call(main, "evaluate", "--url", server.url, "--data", str(root)) == 2
    assert "--results FILE keeps the detections" in capsys.readouterr().err
    assert {path.name for path in root.iterdir()} == {"annotations", "val"}
