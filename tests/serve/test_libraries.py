"""Our libraries in a repository, and what runs without them: the same answers, and log and doctor say which it is."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import device
import maskline_host
import numpy as np
import pytest
from maskline_export.onnx_stages.to_onnx import export_model
from maskline_serve.doctor import Level, examine
from maskline_serve.errors import ModelNotLoadedError
from maskline_serve.repository.assemble import assemble
from maskline_serve.repository.libraries import CUSTOM_OPS_PLACE, host_place
from maskline_serve.repository.on_disk import Repository
from maskline_serve.server.triton_server import TritonServer
from maskline_train.evaluation.paste import encode_masks
from maskline_train.spec import PasteRule
from serve import standin
from serve.conftest import send, step_of
from serve.same_answer import png
from support.export.exported import decided_tiny_model
from support.export.kept_traces import kept_traces
from support.served_models import model_of, name_of
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
    masks = np.clip(0.63 * (1.4 - np.hypot(y, x)) + rng.normal(0, 0.24, (3, D, M, M)), 0, 1)
    return {
        "boxes": corners.reshape(3, D, 4).astype(np.float32),
        "scores": np.tile(np.linspace(0.9, 0.1, D, dtype=np.float32), (3, 1)),
        "labels": np.zeros((3, D), np.int32),
        "num_detections": np.array(COUNTS, np.int32)[:, None],
        "masks": masks.astype(np.float32),
        "image_info": info,
    }


def place(folder: Path) -> str:
    """Where a repository has the host library, if it has it."""
    return host_place(Repository.load(folder))


def ask(server: TritonServer) -> dict[str, np.ndarray]:
    """What `postprocess` answers."""
    names = {"float32": "FP32", "int32": "INT32"}
    inputs = []
    for name, array in request().items():
        tensor = triton.InferInput(name, list(array.shape), names[array.dtype.name])
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    with triton.InferenceServerClient(server.grpc_url) as client:
        result = client.infer(step_of(client, "postprocess"), inputs)
    return {name: result.as_numpy(name) for name in ("boxes", "mask_rle")}


@pytest.mark.triton
@pytest.mark.parametrize("rule", ["aligned", "detectron"])
def test_library_and_numpy_serve_the_same_bytes(rule: PasteRule, tmp_path: Path) -> None:
    assert maskline_host.library_path() is not None, "no libmaskline_host.so; `make pytest` builds it"
    spec = dataclasses.replace(standin.SPEC, mask_head=dataclasses.replace(standin.SPEC.mask_head, paste=rule))
    assemble(standin.write_artifact(tmp_path / "artifact", spec), tmp_path / "library")
    shutil.copytree(tmp_path / "library", tmp_path / "numpy")
    shutil.rmtree((tmp_path / "numpy" / place(tmp_path / "numpy")).parent)
    said, answers = {}, {}
    for kind in ("library", "numpy"):
        lines: list[str] = []
        with TritonServer(tmp_path / kind, drain_s=1, show=lines.append) as server:
            answers[kind] = ask(server)
            with triton.InferenceServerClient(server.grpc_url) as client:
                assert send(client, [standin.picture(7)])["num_detections"] == 7
        (said[kind],) = [line for line in lines if "encodes masks" in line]
    step = name_of(tmp_path / "library", "postprocess")
    assert said["library"] == f"{step}: libmaskline_host.so encodes masks"
    assert said["numpy"].startswith(f"{step}: numpy encodes masks, some")
    assert said["numpy"].endswith("this repository holds no libmaskline_host.so")
    texts = answers["library"]["mask_rle"]
    np.testing.assert_array_equal(texts, answers["numpy"]["mask_rle"])
    np.testing.assert_array_equal(answers["library"]["boxes"], answers["numpy"]["boxes"])
    for b, (count, size) in enumerate(zip(COUNTS, SIZES, strict=True)):
        boxes = answers["library"]["boxes"][b, :count]
        wanted = [entry["counts"] for entry in encode_masks(request()["masks"][b, :count], boxes, size, rule)]
        assert texts[b].tolist() == wanted + [b""] * (D - count)


@pytest.mark.triton
def test_a_paste_rule_that_is_none_fails_the_load_by_name(artifact: Path, tmp_path: Path) -> None:
    assemble(artifact, tmp_path / "repository")
    config = model_of(tmp_path / "repository", "postprocess") / "config.pbtxt"
    config.write_text(config.read_text().replace('string_value: "aligned"', 'string_value: "torch"'))
    said = "parameter paste: got 'torch', expected one of aligned, detectron"
    with pytest.raises(ModelNotLoadedError, match=said), TritonServer(tmp_path / "repository", drain_s=1):
        pass


def chosen(repository: Path, side: int) -> str:
    """What `postprocess` would say of its encoder; in a process of its own, as the server runs it."""
    code = f"import importlib; print(importlib.import_module('1.encoders').choose({side}, 'aligned')[1])"
    environment = {"PYTHONPATH": str(model_of(repository, "postprocess")), "MASKLINE_HOST_LIBRARY": "/no/such/file"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()


def test_numpy_takes_over_where_the_library_cannot(artifact: Path, tmp_path: Path) -> None:
    assemble(artifact, tmp_path / "repository")
    assert chosen(tmp_path / "repository", 63) == "libmaskline_host.so encodes masks"
    slower = "numpy encodes masks, some 60 times slower than libmaskline_host.so: "
    too_large = f"{slower}libmaskline_host.so takes masks up to 63 a side, not 64"
    assert chosen(tmp_path / "repository", 64) == too_large
    (tmp_path / "repository" / place(tmp_path / "repository")).write_bytes(b"built for another machine")
    text = chosen(tmp_path / "repository", 14)
    assert text.startswith(slower)
    assert "libmaskline_host.so: cannot be loaded" in text


def test_the_library_is_a_file_of_the_repository(artifact: Path, tmp_path: Path) -> None:
    assemble(artifact, tmp_path / "repository")
    repository = Repository.load(tmp_path / "repository")
    host_library = host_place(repository)
    folder = Path(host_library).parent.as_posix()
    inside = [Path(name).name for name in repository.files if name.startswith(folder)]
    assert sorted(inside) == ["__init__.py", "libmaskline_host.so", "library.py", "mask_rle.py"]
    library = maskline_host.library_path()
    assert library is not None
    assert (repository.folder / host_library).read_bytes() == library.read_bytes()
    (repository.folder / host_library).write_bytes(b"")
    assert repository.changes() == {host_library: "changed"}


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
    masks, ops, stages = [line for line in done.stdout.splitlines() if line.startswith("slower: ")]
    assert "numpy encodes masks" in masks
    assert "the bodies of our ops run, not libmaskline_ort.so" in ops
    assert "each stage runs in a process of Python" in stages
    assert all("`make plugins`" in line for line in (masks, ops, stages))
    assert not (tmp_path / "repository" / place(tmp_path / "repository")).parent.exists()


def test_assemble_says_that_the_named_library_is_missing(artifact: Path, tmp_path: Path) -> None:
    done = assemble_by_command(artifact, tmp_path, "/no/such/library.so")
    assert done.returncode == 1
    assert done.stderr.startswith("maskline-serve: $MASKLINE_HOST_LIBRARY: got /no/such/library.so, expected a file")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "repository").exists()


@pytest.fixture(scope="module")
def with_ops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, exported: its stages have nodes of our ops."""
    folder = tmp_path_factory.mktemp("ops") / "artifact"
    with kept_traces():
        export_model(decided_tiny_model(), "0" * 64, folder)
    return folder


@pytest.fixture
def with_ops_assembled(with_ops: Path, tmp_path: Path) -> Path:
    """Its repository, with the library; skips where the headers to build that are not."""
    device.custom_ops()
    assemble(with_ops, tmp_path / "library")
    return tmp_path / "library"


def served(folder: Path) -> tuple[list[str], list[dict[str, np.ndarray]]]:
    """What the log says of our ops, and the answers to some pictures."""
    lines: list[str] = []
    pictures = [png(np.random.default_rng(i).integers(0, 256, (96, 128, 3), np.uint8)) for i in range(3)]
    with (
        TritonServer(folder, drain_s=1, show=lines.append) as server,
        triton.InferenceServerClient(server.grpc_url) as client,
    ):
        answers = [send(client, [picture], "maskrcnn_raw") for picture in pictures]
    tag = f"-{Repository.load(folder).revision}"
    return sorted(line.replace(tag, "") for line in lines if "libmaskline_ort.so" in line), answers


@pytest.mark.triton
def test_custom_ops_and_bodies_serve_the_same_detections(with_ops_assembled: Path, tmp_path: Path) -> None:
    shutil.copytree(with_ops_assembled, tmp_path / "bodies")
    (tmp_path / "bodies" / CUSTOM_OPS_PLACE).unlink()
    (by_library, answers), (by_bodies, wanted) = served(with_ops_assembled), served(tmp_path / "bodies")
    assert by_library == [
        "mask: MultiscaleRoIAlign: run by libmaskline_ort.so",
        "proposal: ClasswiseNMS, MultiscaleRoIAlign, ProposalNMS: run by libmaskline_ort.so",
    ]
    slower = "run by their bodies, slower: this repository holds no libmaskline_ort.so"
    assert by_bodies == [line.partition(": run by")[0] + f": {slower}" for line in by_library]
    assert sum(int(answer["num_detections"].sum()) for answer in answers) > 0
    for found, expected in zip(answers, wanted, strict=True):
        for name, array in expected.items():
            # boxes of up to 128 px, scores and masks are float32 sums in another order
            np.testing.assert_allclose(found[name].astype(np.float64), array, rtol=1e-5, atol=2e-4, err_msg=name)


def test_doctor_and_backend_say_what_is_wrong_with_the_custom_ops(with_ops_assembled: Path) -> None:
    ok = {finding.check: finding for finding in examine(with_ops_assembled)}
    assert (ok["ops"].level, ok["masks"].level) == (Level.OK, Level.OK)
    assert ok["ops"].detail.startswith(f"run by {CUSTOM_OPS_PLACE}, ")
    (with_ops_assembled / CUSTOM_OPS_PLACE).write_bytes(b"built for another machine")
    found = {finding.check: finding for finding in examine(with_ops_assembled)}["ops"]
    assert found.level is Level.WARNING
    assert found.detail == f"{CUSTOM_OPS_PLACE} is not what was assembled, so it was not tried; assemble again"
    text = said_of_ops(with_ops_assembled)
    assert text.startswith(
        "MultiscaleRoIAlign: run by their bodies, slower: libmaskline_ort.so cannot be loaded here: "
    )
    assert "\n" not in text


def said_of_ops(repository: Path) -> str:
    """What the backend says of the stage `mask`, in a process of its own, as the server runs it."""
    code = (
        "import sys, onnxruntime, custom_ops; "
        "config = {'parameters': {'custom_ops': {'string_value': 'MultiscaleRoIAlign'}}}; "
        "print(custom_ops.register(onnxruntime.SessionOptions(), config))"
    )
    environment = {"PYTHONPATH": str(repository / "backends" / "onnxruntime")}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()


def test_a_repository_without_the_library_is_a_warning_of_doctor(with_ops: Path, tmp_path: Path) -> None:
    done = assemble_by_command(with_ops, tmp_path, None)
    assert done.returncode == 0, done.stderr
    found = {finding.check: finding for finding in examine(tmp_path / "repository")}
    for check, what in {"ops": "the bodies of our ops run", "masks": "numpy encodes masks"}.items():
        assert found[check].level is Level.WARNING
        assert found[check].detail.startswith("this repository has no ")
        assert what in found[check].detail
