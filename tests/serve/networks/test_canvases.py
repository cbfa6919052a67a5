"""How the network wants its pictures, through the real server: each filter and each size rule, to the very bytes."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from maskline_serve.repository.assemble import assemble
from maskline_serve.repository.libraries import host_place
from maskline_serve.repository.on_disk import Repository
from maskline_serve.server.triton_server import TritonServer
from maskline_train.data.canvas import preprocess_batch
from maskline_train.data.images import decode_image
from maskline_train.spec import PreprocessingSpec
from serve import standin
from serve.conftest import arrays, image_input, send
from support.data import image_files
from support.served_models import name_of
from tritonclient import grpc as triton

pytestmark = pytest.mark.triton

# Enlarged, shrunk, exactly half of it, portrait, a strip, a pixel; 48 x 73 becomes 64 x 97.3 under a limit of 97.
SIZES = [(48, 64), (200, 333), (128, 180), (90, 41), (2, 700), (1, 1), (64, 96), (48, 73), (205, 2666)]
FILES = [image_files.encoded(image_files.picture(*size), "PNG") for size in SIZES]
LIBRARY, NUMPY = "libmaskline_host.so resizes pictures", "numpy resizes pictures, some 8 times slower than"
SPECS = {
    "pillow round": (PreprocessingSpec(64, 97, (), canvas_multiple=32), "Pillow resizes pictures"),
    "pillow detectron2": (
        PreprocessingSpec(800, 1333, (), canvas_multiple=32, size_rule="detectron2"),
        "Pillow resizes pictures",
    ),
    "cv2 round": (PreprocessingSpec(64, 97, (), canvas_multiple=32, resize_filter="cv2"), LIBRARY),
    "torch floor": (
        PreprocessingSpec(64, 97, (), canvas_multiple=32, resize_filter="torch", size_rule="floor"),
        LIBRARY,
    ),
    "torch floor of a list": (
        PreprocessingSpec(64, 96, ((64, 96), (96, 64), (96, 96)), resize_filter="torch", size_rule="floor"),
        LIBRARY,
    ),
}


def assembled(spec: PreprocessingSpec, folder: Path) -> Path:
    artifact = standin.write_artifact(folder / "artifact", dataclasses.replace(standin.SPEC, preprocessing=spec))
    assemble(artifact, folder / "repository")
    return folder / "repository"


def check_canvases(repository: Path, spec: PreprocessingSpec, said: str) -> None:
    """The server makes training's canvases, of each file alone and of all in one request, and answers on them."""
    lines: list[str] = []
    with (
        TritonServer(repository, drain_s=1, show=lines.append) as server,
        triton.InferenceServerClient(server.grpc_url) as client,
    ):
        for files in (*([file] for file in FILES), FILES[:8]):
            answer = arrays(client.infer(name_of(repository, "preprocess"), [image_input(files)]))
            canvas, info = preprocess_batch([decode_image(file) for file in files], spec)
            np.testing.assert_array_equal(answer["canvas"], canvas)
            np.testing.assert_array_equal(answer["image_info"], info)
            np.testing.assert_array_equal(answer["image_size"], info[:, 4:])
        assert send(client, [standin.picture(7)])["num_detections"] == 7
    (line,) = [line for line in lines if "resizes pictures" in line]
    assert line.startswith(f"preprocess: {said}")


@pytest.mark.parametrize(("spec", "said"), SPECS.values(), ids=SPECS)
def test_the_server_s_canvases_are_training_s(spec: PreprocessingSpec, said: str, tmp_path: Path) -> None:
    check_canvases(assembled(spec, tmp_path), spec, said)


@pytest.mark.parametrize("resize_filter", ["cv2", "torch"])
def test_numpy_makes_the_same_where_the_library_is_missing(resize_filter: str, tmp_path: Path) -> None:
    spec = PreprocessingSpec(64, 97, (), canvas_multiple=32, resize_filter=resize_filter)
    repository = assembled(spec, tmp_path)
    shutil.rmtree((repository / host_place(Repository.load(repository), "preprocess")).parent)
    check_canvases(repository, spec, NUMPY)


def test_the_library_comes_to_the_step_that_needs_it(tmp_path: Path) -> None:
    for resize_filter, wanted in (
        ("pillow", []),
        ("cv2", ["__init__.py", "libmaskline_host.so", "library.py", "resize.py"]),
    ):
        spec = PreprocessingSpec(64, 96, (), canvas_multiple=32, resize_filter=resize_filter)
        repository = Repository.load(assembled(spec, tmp_path / resize_filter))
        folder = Path(host_place(repository, "preprocess")).parent.as_posix()
        assert sorted(Path(name).name for name in repository.files if name.startswith(folder)) == wanted
