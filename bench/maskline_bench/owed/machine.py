"""What a machine must have to show something, how that is found out, and how it is brought."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from maskline_host.library import custom_ops_path
from maskline_serve.errors import ServeError
from maskline_serve.server import find_server

_CORES = 16  # the training process and 15 loading ones


@dataclasses.dataclass(frozen=True)
class Need:
    """Something that a machine has or lacks.

    Attributes:
        what: in words.
        bring: how, in commands.
        there: whether it is.
    """

    what: str
    bring: str
    there: Callable[[], bool]


def card() -> str | None:
    """Name of the first GPU, as its driver gives it; None where there is none."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[0].strip() if done.returncode == 0 and done.stdout.strip() else None


def _has_cuda_provider() -> bool:
    if importlib.util.find_spec("onnxruntime") is None:
        return False
    import onnxruntime  # a CUDA build without its libraries still names the provider: the scripts say what is missing

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def _has_server() -> bool:
    try:
        find_server.find()
    except ServeError:
        return False
    return True


def _has_headers() -> bool:
    return bool(os.environ.get("ONNXRUNTIME_INCLUDE")) or any(
        Path("build/onnxruntime").glob("**/onnxruntime_cxx_api.h")
    )


NEEDS: dict[str, Need] = {
    "gpu": Need("an NVIDIA GPU and its driver, 580 or later", "the driver's installer", lambda: bool(card())),
    "cores": Need(
        f"{_CORES} cores for this process", "a larger machine, or `taskset` undone",
        lambda: len(os.sched_getaffinity(0)) >= _CORES,
    ),
    "onnxruntime-gpu": Need(
        "ONNX Runtime with its CUDA provider",
        "`.venv/bin/pip uninstall -y onnxruntime && .venv/bin/pip install 'onnxruntime-gpu[cuda,cudnn]>=1.28'`; "
        "with both installed the one overwrites the other's files",
        _has_cuda_provider,
    ),
    "nvimagecodec": Need(
        "nvImageCodec with nvJPEG", "`make env` brings both; in another environment `pip install 'maskline[decode]'`",
        lambda: importlib.util.find_spec("nvidia") is not None
        and importlib.util.find_spec("nvidia.nvimgcodec") is not None,
    ),
    "server": Need(
        "Triton with its Python backend", "`make env` brings the wheel nvidia-pytriton and numpy below 2", _has_server
    ),
    "op library": Need("libmaskline_ort.so with the card's kernels", "`make plugins`", lambda: bool(custom_ops_path())),
    "nvcc": Need(
        "nvcc 12.8 or later", "`make env` brings 13.0; another: `make ... NVCC=/usr/local/cuda/bin/nvcc`",
        lambda: bool(shutil.which("nvcc")) or importlib.util.find_spec("nvidia") is not None,
    ),
    "headers": Need(
        "headers of ONNX Runtime", "`plugins/ort/headers.sh` fetches them, or ONNXRUNTIME_INCLUDE=folder", _has_headers
    ),
    "compute-sanitizer": Need(
        "compute-sanitizer on PATH",
        "of the CUDA toolkit; or `.venv/bin/pip install nvidia-cuda-sanitizer-api==13.0.85`, and `make owed` finds it",
        lambda: bool(shutil.which("compute-sanitizer")),
    ),
    "pycuda": Need(
        "pycuda", "`make pycuda`; where NVIDIA's installer brought the CUDA toolkit `.venv/bin/pip install pycuda` too",
        lambda: importlib.util.find_spec("pycuda") is not None,
    ),
    "tensorrt": Need(
        "TensorRT 10.7 or later with its Python module",
        "`.venv/bin/pip install tensorrt`, which downloads from NVIDIA's own index",
        lambda: importlib.util.find_spec("tensorrt") is not None,
    ),
}  # fmt: skip


def missing(needs: tuple[str, ...]) -> list[str]:
    """Names of what this machine lacks."""
    return [name for name in needs if not NEEDS[name].there()]
