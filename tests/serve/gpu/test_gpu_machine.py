"""What `run` and `doctor` say of a repository for a GPU, on a machine without one and with parts of one."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnxruntime as ort
import pytest
from maskline_serve.doctor import Finding, Level, examine
from maskline_serve.errors import GpuNotFoundError
from maskline_serve.repository.assemble import Target, assemble
from maskline_serve.repository.on_disk import Repository
from maskline_serve.server import find_server, gpu
from maskline_serve.server.process import pools
from maskline_serve.server.triton_server import TritonServer
from serve.test_startup import fails
from support.served_models import model_of

pytestmark = pytest.mark.triton


def has_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


without_driver = pytest.mark.skipif(has_driver(), reason="this machine has NVIDIA's driver")
without_cuda = pytest.mark.skipif(
    "CUDAExecutionProvider" in ort.get_available_providers(), reason="this ONNX Runtime has CUDA"
)


@pytest.fixture
def made(half: Path, tmp_path: Path) -> Path:
    assemble(half, tmp_path / "repository", Target.ONNXRUNTIME_GPU, cards=(0, 1))
    return tmp_path / "repository"


def row(findings: list[Finding], check: str) -> tuple[Level, str]:
    (found,) = [finding for finding in findings if finding.check == check]
    return found.level, found.detail


@without_driver
def test_run_refuses_in_one_line_where_no_driver_is(made: Path) -> None:
    line = fails(["run", made])
    assert line.startswith(f"maskline-serve: {made}: target onnxruntime-gpu: got no NVIDIA driver (libcuda.so.1), ")
    assert "expected GPU 0, GPU 1; go to a machine with one, or assemble" in line


@without_driver
def test_a_server_in_code_refuses_too(made: Path) -> None:
    with pytest.raises(GpuNotFoundError, match="got no NVIDIA driver"):
        TritonServer(made)


@pytest.mark.parametrize(
    ("count", "status", "text"),
    [(1, 0, "got 1 of them, expected GPU 0, GPU 1; `nvidia-smi`"), (2, 100, "the driver answers with status 100, ")],
)
def test_too_few_cards_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, status: int, text: str
) -> None:
    """A driver of two functions, compiled here: no more of the real one is asked."""
    source = f"int cuInit(unsigned f) {{ return {status}; }} int cuDeviceGetCount(int* n) {{ *n = {count}; return 0; }}"
    monkeypatch.setattr(gpu, "_DRIVER", str(compiled(tmp_path, "libcuda.so.1", source)))
    problem = gpu.cards_problem({0, 1})
    assert problem is not None
    assert text in problem
    if not status:
        assert gpu.cards_problem({0}) is None


def compiled(folder: Path, name: str, source: str, *flags: str) -> Path:
    """A library of C text."""
    (folder / "source.c").write_text(source, encoding="utf-8")
    command = ["cc", "-shared", "-fPIC", "-o", str(folder / name), str(folder / "source.c"), *flags]
    subprocess.run(command, check=True)
    return folder / name


@without_cuda
def test_an_onnx_runtime_without_cuda_is_named() -> None:
    problem = gpu.library_problem(find_server.find())
    assert problem is not None
    assert (
        "got an ONNX Runtime without libonnxruntime_providers_cuda.so, expected the package onnxruntime-gpu" in problem
    )


def test_a_library_that_the_provider_lacks_is_named(tmp_path: Path) -> None:
    """A package with a provider that wants a library which is not there, as one without the packages of CUDA."""
    capi = tmp_path / "onnxruntime" / "capi"
    capi.mkdir(parents=True)
    (tmp_path / "onnxruntime" / "__init__.py").write_text("def preload_dlls(): pass\n", encoding="utf-8")
    compiled(capi, "libonnxruntime_providers_shared.so", "int shared;")
    compiled(tmp_path, "libcublasLt.so.99", "int cublas(void) { return 1; }")
    link = [f"-L{tmp_path}", "-l:libcublasLt.so.99"]
    compiled(
        capi, "libonnxruntime_providers_cuda.so", "int cublas(void); int provider(void) { return cublas(); }", *link
    )
    problem = library_problem(PYTHONPATH=str(tmp_path))
    assert "does not load (OSError: libcublasLt.so.99: cannot open shared object file" in problem
    assert "pip install 'maskline[gpu]'" in problem
    assert library_problem(PYTHONPATH=str(tmp_path), LD_LIBRARY_PATH=str(tmp_path)) == "None"


def library_problem(**environ: str) -> str:
    """What is found in a Python of its own."""
    text = "from maskline_serve.server import find_server, gpu; print(gpu.library_problem(find_server.find()))"
    done = subprocess.run(
        [sys.executable, "-c", text], env={**os.environ, **environ}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_server_is_told_to_reserve_memory_on_each_card(made: Path, repository: Path) -> None:
    size = Repository.load(made).gpu["pool_bytes"]
    assert pools([Repository.load(made)]) == [f"--cuda-memory-pool-byte-size={card}:{size}" for card in (0, 1)]
    assert pools([Repository.load(repository)]) == pools([]) == []


def edit(repository: Path, model: str, old: str, new: str) -> None:
    path = model_of(repository, model) / "config.pbtxt"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


@without_driver
@without_cuda
def test_doctor_finds_nothing_wrong_but_the_missing_gpu(made: Path) -> None:
    assert [finding.check for finding in examine(made) if finding.level is not Level.OK] == ["GPU", "CUDA provider"]


def test_doctor_knows_a_pool_that_is_too_small(made: Path) -> None:
    level, detail = row(examine(made), "CUDA pool")
    assert (level, detail.split(",")[0]) == (Level.OK, "256 MiB for tensors between the steps")
    for name in ("backbone", "proposal", "mask"):
        edit(made, name, "max_batch_size: 8", "max_batch_size: 8192")
    level, detail = row(examine(made), "CUDA pool")
    assert level is Level.WARNING
    assert "goes through the host, silently" in detail


def test_doctor_knows_options_that_triton_overwrites(made: Path) -> None:
    edit(made, "mask", 'parameters { key: "use_tf32" value: "0" }', 'parameters { key: "gpu_mem_limit" value: "9" }')
    found = [finding.detail for finding in examine(made) if finding.check == "mask" and finding.level is Level.WARNING]
    assert len(found) == 1
    assert found[0].startswith(
        "gpu_mem_limit stands in gpu_execution_accelerator, where Triton's backend overwrites it"
    )


def test_doctor_knows_stages_that_were_told_to_run_on_the_cpu(made: Path) -> None:
    for name in ("backbone", "proposal", "mask"):
        edit(made, name, "kind: KIND_GPU count: 1 gpus: [ 0, 1 ]", "kind: KIND_CPU count: 1")
    level, detail = row(examine(made), "GPU")
    assert level is Level.WARNING
    assert "got KIND_CPU in their config.pbtxt, expected KIND_GPU" in detail


@without_cuda
def test_doctor_would_say_why_a_stage_does_not_load_on_the_card(made: Path) -> None:
    """By the backend's own code in a process of its own; here this ONNX Runtime has no CUDA."""
    refused, left = gpu.load_stage(Repository.load(made), "mask")
    assert left == ""
    assert refused is not None
    assert refused.startswith("instance_group KIND_GPU: got an ONNX Runtime with ")
    edit(made, "mask", "kind: KIND_GPU count: 1 gpus: [ 0, 1 ]", "kind: KIND_CPU count: 1")
    assert gpu.load_stage(Repository.load(made), "mask") == (None, "")  # nothing is recorded of a session on the CPU


def test_a_repository_of_before_says_nothing_of_a_gpu(repository: Path, tmp_path: Path) -> None:
    shutil.copytree(repository, tmp_path / "old")
    text = (tmp_path / "old" / "repository.json").read_text(encoding="utf-8")
    (tmp_path / "old" / "repository.json").write_text(text.replace('  "gpu": {},\n', ""), encoding="utf-8")
    assert "gpu" not in (tmp_path / "old" / "repository.json").read_text(encoding="utf-8")
    assert Repository.load(tmp_path / "old").gpu == {}
