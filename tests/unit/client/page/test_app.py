"""What the page's server answers: COCO results and how to draw them, errors in their own words, limits."""

from __future__ import annotations

import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from maskline_client import Detector
from maskline_client.detector import IN_FLIGHT
from maskline_show.picture import colour_of
from PIL import Image
from unit.client.page.conftest import Opened, picture_with
from unit.client.page.test_guard import ask, origin
from unit.client.triton_double import CLASSES, REFUSED, SIZE, Server


def found(door, body, path="/detect"):
    status, text, _ = ask(door, path, body, Origin=origin(door))
    return status, json.loads(text)


def test_the_answer_is_what_the_client_library_finds(opened: Opened, server: Server) -> None:
    status, answer = found(opened(), picture_with(3))
    assert status == 200
    with Detector(server.url) as detector:
        expected = detector.detect(picture_with(3))
    got = [
        {key: one[key] for key in ("bbox", "score", "segmentation", "category_id")}
        for one in answer["coco"]["annotations"]
    ]
    assert got == [
        {key: one[key] for key in ("bbox", "score", "segmentation", "category_id")}
        for one in expected.to_coco_results(1)
    ]
    assert [one["name"] for one in answer["coco"]["categories"]] == list(CLASSES)
    assert [one["fill"] for one in answer["colours"]] == [f"rgb{colour_of(label)}" for label in range(len(CLASSES))]
    assert {one["ink"] for one in answer["colours"]} <= {"rgb(0, 0, 0)", "rgb(255, 255, 255)"}
    assert answer["ms"]["server"] > 0
    assert answer["ms"]["page"] > 0


def test_a_turned_picture_comes_back_upright_and_any_does_that_is_asked_for(opened: Opened) -> None:
    image = Image.new(
        "RGB", SIZE, "red"
    )  # stored (width, height) = (20, 30): upright it is as the server says, 30 x 20
    exif = Image.Exif()
    exif[0x0112] = 6
    files = []
    for more in ({}, {"exif": exif}):
        file = io.BytesIO()
        image.save(file, "JPEG", **more)
        files.append(file.getvalue())
    door = opened()
    assert found(door, files[0])[1]["picture"] is None
    assert found(door, files[0], "/detect?picture")[1]["picture"].startswith("/9j/")  # a JPEG
    assert found(door, files[1])[1]["picture"].startswith("/9j/")


def test_boxes_alone(opened: Opened) -> None:
    _, answer = found(opened(masks=False), picture_with(2))
    assert [set(one) & {"segmentation", "keypoints"} for one in answer["coco"]["annotations"]] == [set(), set()]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"hello", 422, "the given bytes: got a file that begins with b'hello', expected JPEG, PNG or WebP"),
        (REFUSED, 422, "refused the image"),
        (b"", 413, "the image: got an empty file, expected an image; replace it"),
    ],
)
def test_a_refusal_is_said_as_it_is(opened: Opened, body: bytes, status: int, said: str) -> None:
    got, answer = found(opened(), body)
    assert got == status
    assert said in answer["error"]


@pytest.mark.parametrize(("code", "status"), [(grpc.StatusCode.UNAVAILABLE, 503), (grpc.StatusCode.INTERNAL, 502)])
def test_a_failure_of_the_server_is_said_as_it_is(
    opened: Opened, server: Server, code: grpc.StatusCode, status: int
) -> None:
    server.script.failures, server.script.code = 99, code
    got, answer = found(opened(), picture_with(1))
    assert got == status
    assert server.url in answer["error"]


def test_too_many_bytes_are_refused_before_they_are_there(opened: Opened) -> None:
    door = opened()
    status, text, _ = ask(door, "/detect", b"x", Origin=origin(door), Content_Length=str(1 << 40))
    assert status == 413
    assert f"got {1 << 40} bytes, expected at most" in json.loads(text)["error"]


def test_too_many_images_at_a_time_are_refused(opened: Opened, server: Server) -> None:
    server.script.sleep_s = 100.0  # until `over`
    door, refused = opened(deadline_s=200.0), threading.Event()

    def one(_: int) -> int:
        status, answer = found(door, picture_with(1))
        if status == 503:
            assert answer["error"].startswith(f"got more than {IN_FLIGHT} images at a time")
            refused.set()
        return status

    with ThreadPoolExecutor(IN_FLIGHT + 1) as pool:
        answers = pool.map(one, range(IN_FLIGHT + 1))
        assert refused.wait(60)
        server.script.over.set()
        assert sorted(answers) == [200] * IN_FLIGHT + [503]


def test_what_is_served_is_asked_anew_each_time(opened: Opened, server: Server) -> None:
    door = opened(deadline_s=2.0)
    assert json.loads(ask(door, "/served")[1])["title"] == f"maskrcnn at {server.url}"
    server.script.away = "scripted"
    assert "error" in json.loads(ask(door, "/served")[1])


def test_the_page_refers_to_nothing_elsewhere(opened: Opened) -> None:
    door = opened()
    names = ["", "report.css", "page.css", "icon.svg"]
    names += [f"{name}.js" for name in ("main", "camera", "draw", "files", "lists", "rle", "scene", "server", "view")]
    for name in names:
        status, text, _ = ask(door, f"/{name}")
        assert status == 200, name
        assert "https://" not in text.replace("or over https alone", ""), name
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", ""), name
    assert np.all(["<script>" not in ask(door, "/")[1], "style=" not in ask(door, "/")[1]])
