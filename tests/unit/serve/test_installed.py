"""What `maskline-serve doctor` says of our libraries and of the package that brings ONNX Runtime."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.machinery
import importlib.metadata
import re
import sys
import types
from pathlib import Path

import device
import maskline_host.library
import pytest
from maskline_serve import installed
from maskline_serve.doctor import Level, examine
from maskline_serve.repository.assemble import assemble
from maskline_serve.repository.libraries import BACKEND_PLACE, CUSTOM_OPS_PLACE, host_place
from maskline_serve.repository.on_disk import Repository
from serve import standin

VARIABLE = maskline_host.library.VARIABLE


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    folder = tmp_path_factory.mktemp("installed")
    assemble(standin.write_artifact(folder / "artifact"), folder / "repository")
    return Repository.load(folder / "repository")


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The built host library, named by the variable, so that a test may name another."""
    path = maskline_host.library.library_path()
    assert path is not None, "no libmaskline_host.so; `make pytest` builds it"
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def install(folder: Path, name: str, version: str) -> None:
    """The record of an installed package that brings the module `onnxruntime`, and nothing of the module."""
    record = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    (record / "top_level.txt").write_text("onnxruntime\n", encoding="utf-8")


def test_one_onnx_runtime_is_named() -> None:
    version = importlib.metadata.version("onnxruntime")
    assert installed.onnx_runtime() == ("onnxruntime", "ok", f"onnxruntime {version}")


def test_a_second_onnx_runtime_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "onnxruntime-gpu", "1.99")
    monkeypatch.syspath_prepend(tmp_path)
    version = importlib.metadata.version("onnxruntime")
    check, level, detail = installed.onnx_runtime()
    assert (check, level) == ("onnxruntime", "warning")
    assert detail.startswith(f"got onnxruntime {version} and onnxruntime-gpu 1.99, expected one: they overwrite")
    assert f"({version} with " in detail
    assert "CPUExecutionProvider" in detail
    assert "`pip uninstall onnxruntime onnxruntime-gpu`, then install one" in detail
    assert "\n" not in detail


def test_the_build_for_gpus_alone_is_one_too_if_its_files_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "onnxruntime-gpu", "1.99")
    (tmp_path / "onnxruntime").mkdir()
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    check, level, detail = installed.onnx_runtime()  # what is left when the other of two is uninstalled
    assert (check, level) == ("onnxruntime", "error")
    assert detail.startswith("got onnxruntime-gpu 1.99 without its files")
    assert detail.endswith("`pip install --force-reinstall --no-deps onnxruntime-gpu==1.99`")
    (tmp_path / "onnxruntime" / "__init__.py").touch()
    importlib.invalidate_caches()
    assert installed.onnx_runtime() == ("onnxruntime", "ok", "onnxruntime-gpu 1.99")


def test_no_onnx_runtime_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    assert installed.onnx_runtime() == ("onnxruntime", "error", "not installed; `pip install 'maskline[serve]'`")


def test_the_libraries_are_named_by_their_place(
    repository: Repository, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, masks, custom_ops, ops, stages = installed.kernels(repository)
    assert host[:2] == ("host library", "ok")
    assert host[2] in {f"{library}, AVX-512 kernels", f"{library}, generic kernels"}
    assert masks == ("masks", "ok", f"encoded by {host_place(repository)}, a copy of the installed one")
    path = maskline_host.library.custom_ops_path()
    if path is not None:  # not built where ONNX Runtime's headers are missing
        assert custom_ops == ("custom ops", "ok", str(path))
        assert ops == ("ops", "ok", f"run by {CUSTOM_OPS_PLACE}, a copy of the installed one")
        where = f"run in the server's process by {BACKEND_PLACE}, a copy of the installed one, on "
        assert stages[:2] == ("stages", "ok")
        assert re.fullmatch(rf"{re.escape(where)}/.*/capi/libonnxruntime\.so.*", stages[2])
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        untried = installed.kernels(repository)[3]
        assert untried[:2] == ("ops", "warning")
        assert "no Python package of ONNX Runtime is here to try it with" in untried[2]


def test_masks_of_another_build_and_of_none(
    repository: Repository, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.so").write_bytes(library.read_bytes() + b"\0")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "other.so"))
    _, masks, custom_ops, *_ = installed.kernels(repository)
    place = host_place(repository)
    assert masks[1:] == (
        "ok",
        f"encoded by {place}, of another build than the installed one, which `maskline-serve assemble` would take",
    )
    assert custom_ops[2] == "libmaskline_ort.so is not installed: ONNX Runtime runs the bodies of our ops"
    without = (host_place(repository), CUSTOM_OPS_PLACE, BACKEND_PLACE)
    files = {name: found for name, found in repository.files.items() if name not in without}
    _, masks, _, ops, stages = installed.kernels(dataclasses.replace(repository, files=files))
    assert masks[1] == ops[1] == stages[1] == "warning"
    assert masks[2].startswith(f"this repository has no {host_place(repository)}: numpy encodes masks")
    assert ops[2].startswith(f"this repository has no {CUSTOM_OPS_PLACE}: the bodies of our ops run")
    assert stages[2].startswith(f"this repository has no {BACKEND_PLACE}: each stage runs in a process of Python")
    assert len(installed.kernels(dataclasses.replace(repository, mask_side=None))) == 4


def test_libraries_that_are_not_there_or_no_libraries(
    repository: Repository, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "/no/such/library.so")
    host, masks, custom_ops, *_ = installed.kernels(repository)
    assert host[1] == custom_ops[1] == "warning"
    assert host[2].startswith("$MASKLINE_HOST_LIBRARY: got /no/such/library.so, expected a file")
    assert masks[2] == f"encoded by {host_place(repository)}, which is not installed here"
    (tmp_path / "libmaskline_host.so").write_bytes(library.read_bytes())
    (tmp_path / "libmaskline_ort.so").write_bytes(b"no library")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "libmaskline_host.so"))
    custom_ops = installed.kernels(repository)[2]
    assert custom_ops[1] == "warning"
    assert f"{tmp_path / 'libmaskline_ort.so'}: ONNX Runtime does not take it: " in custom_ops[2]


def test_no_library_anywhere(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(maskline_host.library, "_PLACES", ())
    host, _, custom_ops, *_ = installed.kernels(repository)
    assert host[1] == "warning"
    assert host[2].startswith("not installed: numpy encodes masks, some 60 times slower")
    assert custom_ops[:2] == ("custom ops", "ok")


def test_a_server_with_a_backend_of_its_own_is_not_ours(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("bin", "backends/onnxruntime"):
        (tmp_path / folder).mkdir(parents=True)
    server = tmp_path / "bin" / "tritonserver"
    server.touch(0o755)
    monkeypatch.setenv("TRITONSERVER", str(server))
    if CUSTOM_OPS_PLACE in repository.files:
        check, level, detail = installed.kernels(repository)[3]
        assert (check, level) == ("ops", "warning")
        assert "the server's own onnxruntime backend runs their bodies" in detail
    assert installed.kernels(repository)[4] == ("stages", "ok", "run by the server's own onnxruntime backend")


def test_stages_run_in_python_where_the_library_or_onnx_runtimes_is_not_what_it_was(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.backend()
    with monkeypatch.context() as patched:
        patched.setattr(installed.in_process, "onnx_runtime", lambda: None)
        check, level, detail = installed.kernels(repository)[4]
    assert (check, level) == ("stages", "warning")
    assert detail.startswith("got no libonnxruntime.so in a Python package onnxruntime, expected one: each stage runs")
    changed = dataclasses.replace(repository, files={**repository.files, BACKEND_PLACE: "0" * 64})
    said = f"{BACKEND_PLACE} is not what was assembled; assemble again"
    assert installed.kernels(changed)[4] == ("stages", "warning", said)


def test_engines_need_no_custom_ops(repository: Repository) -> None:
    engines = dataclasses.replace(repository, engines={"tensorrt": "10.14"})
    assert [row[0] for row in installed.kernels(engines)] == ["host library", "masks"]


@pytest.mark.parametrize("broken", ["empty", "raises"])
def test_doctor_names_an_onnx_runtime_without_its_files(
    broken: str, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left when one of two packages is uninstalled: a folder, or a module that cannot load its binary."""
    (tmp_path / "onnxruntime" / "capi").mkdir(parents=True)
    if broken == "raises":
        (tmp_path / "onnxruntime" / "__init__.py").write_text("raise ImportError('no binary')", encoding="utf-8")
    for name in [name for name in sys.modules if name.split(".")[0] == "onnxruntime"]:
        monkeypatch.delitem(sys.modules, name)
    if broken == "raises":
        monkeypatch.syspath_prepend(tmp_path)
    else:
        folder = types.ModuleType("onnxruntime")
        folder.__spec__ = importlib.machinery.ModuleSpec("onnxruntime", None)
        monkeypatch.setitem(sys.modules, "onnxruntime", folder)
    found = {finding.check: finding for finding in examine(repository.folder)}
    assert "1/model.onnx " in found["proposal"].detail
    assert found["proposal"].level is Level.ERROR
