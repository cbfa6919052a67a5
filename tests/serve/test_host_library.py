"""Masks by libmaskline_host.so and by numpy: the same bytes through the real server, and the log says which it is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import maskline_host
import numpy as np
import pytest
from maskline_serve.repository.assemble import assemble
from maskline_serve.repository.host_library import PLACE
from maskline_serve.repository.on_disk import Repository
from maskline_serve.server.triton_server import TritonServer
from maskline_train.evaluation.paste import encode_masks
from serve import standin
from serve.conftest import send
from tritonclient import grpc as triton

D, M = standin.SPEC.box_head.max_detections, standin.SPEC.mask_head.mask_side
SIZES = [(333, 500), (500, 333), (1, 300)]
COUNTS = [D, 3, 0]


def request() -> dict[str, np.ndarray]:
    """Inputs of `postprocess` for three images of other sizes, boxes of all sizes, masks of blobs and noise."""
    rng = np.random.default_rng(0)
    info = np.array([[h * 1.25, w * 1.2, 1.25, 1.2, h, w] for h, w in SIZES], np.float32)
    limit = info[:, [1, 0]][:, None]  # width, height of the picture on the canvas
    corners = np.sort(rng.uniform(-0.1, 1.1, (3, D, 2, 2)), axis=2) * limit[:, :, None]
    y, x = np.mgrid[-1 : 1 : M * 1j, -1 : 1 : M * 1j]
    masks = np.clip(160 * (1.4 - np.hypot(y, x)) + rng.normal(0, 60, (3, D, M, M)), 0, 255)
    return {
        "boxes": corners.reshape(3, D, 4).astype(np.float32),
        "scores": np.tile(np.linspace(0.9, 0.1, D, dtype=np.float32), (3, 1)),
        "labels": np.zeros((3, D), np.int32),
        "num_detections": np.array(COUNTS, np.int32)[:, None],
        "masks": masks.astype(np.uint8),
        "image_info": info,
    }


def ask(server: TritonServer) -> dict[str, np.ndarray]:
    """What `postprocess` answers."""
    names = {"float32": "FP32", "int32": "INT32", "uint8": "UINT8"}
    inputs = []
    for name, array in request().items():
        tensor = triton.InferInput(name, list(array.shape), names[array.dtype.name])
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    with triton.InferenceServerClient(server.grpc_url) as client:
        result = client.infer("postprocess", inputs)
    return {name: result.as_numpy(name) for name in ("boxes", "mask_rle")}


@pytest.mark.triton
def test_library_and_numpy_serve_the_same_bytes(artifact: Path, tmp_path: Path) -> None:
    assert maskline_host.library_path() is not None, "no libmaskline_host.so; `make pytest` builds it"
    assemble(artifact, tmp_path / "library")
    shutil.copytree(tmp_path / "library", tmp_path / "numpy")
    shutil.rmtree((tmp_path / "numpy" / PLACE).parent)
    said, answers = {}, {}
    for kind in ("library", "numpy"):
        lines: list[str] = []
        with TritonServer(tmp_path / kind, drain_s=1, show=lines.append) as server:
            answers[kind] = ask(server)
            with triton.InferenceServerClient(server.grpc_url) as client:
                assert send(client, [standin.picture(7)])["num_detections"] == 7
        (said[kind],) = [line for line in lines if "encodes masks" in line]
    assert said["library"] == "postprocess: libmaskline_host.so encodes masks"
    assert said["numpy"].startswith("postprocess: numpy encodes masks, some")
    assert said["numpy"].endswith("this repository holds no libmaskline_host.so")
    texts = answers["library"]["mask_rle"]
    np.testing.assert_array_equal(texts, answers["numpy"]["mask_rle"])
    np.testing.assert_array_equal(answers["library"]["boxes"], answers["numpy"]["boxes"])
    for b, (count, size) in enumerate(zip(COUNTS, SIZES, strict=True)):
        boxes = answers["library"]["boxes"][b, :count]
        wanted = [entry["counts"] for entry in encode_masks(request()["masks"][b, :count], boxes, size)]
        assert texts[b].tolist() == wanted + [b""] * (D - count)


def chosen(repository: Path, side: int) -> str:
    """What `postprocess` would say of its encoder; in a process of its own, as the server runs it."""
    code = f"import importlib; print(importlib.import_module('1.encoders').choose({side})[1])"
    environment = {"PYTHONPATH": str(repository / "models" / "postprocess"), "MASKLINE_HOST_LIBRARY": "/no/such/file"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()


def test_numpy_takes_over_where_the_library_cannot(artifact: Path, tmp_path: Path) -> None:
    assemble(artifact, tmp_path / "repository")
    assert chosen(tmp_path / "repository", 63) == "libmaskline_host.so encodes masks"
    slower = "numpy encodes masks, some 60 times slower than libmaskline_host.so: "
    too_large = f"{slower}libmaskline_host.so takes masks up to 63 a side, not 64"
    assert chosen(tmp_path / "repository", 64) == too_large
    (tmp_path / "repository" / PLACE).write_bytes(b"built for another machine")
    text = chosen(tmp_path / "repository", 14)
    assert text.startswith(slower)
    assert "libmaskline_host.so: cannot be loaded" in text


def test_the_library_is_a_file_of_the_repository(artifact: Path, tmp_path: Path) -> None:
    assemble(artifact, tmp_path / "repository")
    repository = Repository.load(tmp_path / "repository")
    folder = Path(PLACE).parent.as_posix()
    inside = [Path(name).name for name in repository.files if name.startswith(folder)]
    assert sorted(inside) == ["__init__.py", "libmaskline_host.so", "library.py", "mask_rle.py"]
    library = maskline_host.library_path()
    assert library is not None
    assert (repository.folder / PLACE).read_bytes() == library.read_bytes()
    (repository.folder / PLACE).write_bytes(b"")
    assert repository.changes() == {PLACE: "changed"}


def assemble_by_command(artifact: Path, folder: Path, variable: str | None) -> subprocess.CompletedProcess[str]:
    """`maskline-serve assemble` with packages that lie where no library is."""
    packages = folder / "installed" / "packages"
    root = Path(__file__).parents[2]
    for package in ("triton_repo/maskline_serve", "plugins/maskline_host"):
        shutil.copytree(root / package, packages / Path(package).name, ignore=shutil.ignore_patterns("*.so"))
    for name in ("models", "backends"):
        shutil.copytree(root / "triton_repo" / name, packages / "maskline_serve" / name)
    environment = {"PYTHONPATH": str(packages), "PATH": "", "COLUMNS": "300"}
    if variable is not None:
        environment["MASKLINE_HOST_LIBRARY"] = variable
    command = [sys.executable, "-c", "from maskline_serve.cli import main; main()", "assemble"]
    arguments = [str(artifact), str(folder / "repository")]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, env=environment)


def test_assemble_says_what_is_slower_where_no_library_is(artifact: Path, tmp_path: Path) -> None:
    done = assemble_by_command(artifact, tmp_path, None)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("slower: ")]
    assert "numpy encodes masks" in line
    assert "`make plugins`" in line
    assert not (tmp_path / "repository" / PLACE).parent.exists()


def test_assemble_says_that_the_named_library_is_missing(artifact: Path, tmp_path: Path) -> None:
    done = assemble_by_command(artifact, tmp_path, "/no/such/library.so")
    assert done.returncode == 1
    assert done.stderr.startswith("maskline-serve: $MASKLINE_HOST_LIBRARY: got /no/such/library.so, expected a file")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "repository").exists()
