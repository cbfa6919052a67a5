"""Whether a machine has what a repository for a GPU needs: the cards, and ONNX Runtime with what its provider loads.

Without this a server would start, and fail a minute later, a model at a time.
"""

from __future__ import annotations

import ctypes
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

from maskline_serve.errors import GpuNotFoundError
from maskline_serve.repository import config, names
from maskline_serve.repository.on_disk import STAGES, Repository
from maskline_serve.server import in_process
from maskline_serve.server.find_server import Installation

_DRIVER = "libcuda.so.1"
_PROVIDER = "libonnxruntime_providers_cuda.so"
_INSTALL = "`pip uninstall onnxruntime`, then `pip install 'maskline[gpu]'`"
# As ONNX Runtime loads it: the libraries out of CUDA's packages, then what both providers share, then the provider.
_TRY = """
import ctypes, sys, onnxruntime
onnxruntime.preload_dlls()
ctypes.CDLL(sys.argv[1].replace("_cuda.so", "_shared.so"), ctypes.RTLD_GLOBAL)
ctypes.CDLL(sys.argv[1], ctypes.RTLD_GLOBAL)
"""
_TRY_SECONDS = 120.0


def cards_wanted(repository: Repository) -> set[int]:
    """Numbers of the cards that the stages ask for; none where they run on the CPU."""
    found: set[int] = set()
    for path in sorted(repository.models.glob("*/config.pbtxt")):
        if names.word_of(path.parent.name) in STAGES:
            parsed = config.parse(path.read_text(encoding="utf-8"), path)
            found |= _cards(parsed)
    return found


def _cards(parsed: Any) -> set[int]:
    """The cards that a model's instances run on; Triton takes the first where a group names none."""
    groups = [group for group in parsed.instance_group if group.Kind.Name(group.kind) == "KIND_GPU"]
    return {card for group in groups for card in group.gpus or (0,)}


def decodes_on(repository: Repository) -> list[int]:
    """Where `preprocess` decodes by nvImageCodec: its cards, or -1, the CPU; nowhere where Pillow does."""
    path = repository.model("preprocess") / "config.pbtxt"
    parsed = config.parse(path.read_text(encoding="utf-8"), path)
    if parsed.parameters["decode"].string_value != "device":
        return []
    return sorted(_cards(parsed)) or [-1]


def check(repository: Repository, installation: Installation) -> None:
    """Look for what the repository needs of a GPU, if it needs one.

    Raises:
        GpuNotFoundError: something is not there; the text says what.
    """
    wanted = cards_wanted(repository) if repository.gpu else set()  # of another target Triton alone reads the configs
    if not wanted:
        return
    problem = cards_problem(wanted) or library_problem(installation) or decoder_problem(repository)
    if problem is not None:
        raise GpuNotFoundError(f"{repository.folder}: target {repository.target}: {problem}")


def cards_problem(wanted: set[int]) -> str | None:
    """Why the cards are not there, or None."""
    instead = "assemble for them by --gpus, or for the target cpu"
    expected = f"expected {', '.join(f'GPU {card}' for card in sorted(wanted))}"
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return f"got no NVIDIA driver ({_DRIVER}), {expected}; go to a machine with one, or {instead}"
    count = ctypes.c_int()
    status = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if status != 0 or count.value <= max(wanted):
        said = f"the driver answers with status {status}" if status else f"got {count.value} of them"
        return f"{said}, {expected}; `nvidia-smi` lists them, CUDA_VISIBLE_DEVICES hides some; {instead}"
    return None


# In a process of its own: what fails in CUDA stays there. Says which nodes the session leaves to the CPU.
_LOAD = """
import json, pathlib, sys
sys.path.insert(0, sys.argv[1])
import onnx_session
config = json.load(sys.stdin)
try:
    found = onnx_session.load(pathlib.Path(sys.argv[2]), config)
except ValueError as error:
    sys.exit(" ".join(str(error).split()))
print(onnx_session.on_gpu(config) and onnx_session.on_the_cpu(found) or "")
"""


def load_stage(repository: Repository, name: str) -> tuple[str | None, str]:
    """Load a stage as its backend would: why it does not load, or None, and what it leaves to the CPU, if anything."""
    path = repository.model(name) / "config.pbtxt"
    settings = config.as_triton_json(config.parse(path.read_text(encoding="utf-8"), path))
    backend = repository.backends / in_process.BACKEND
    return _tried(_LOAD, str(backend.resolve()), str(path.parent.resolve() / "1" / "model.onnx"), given=settings)


def _tried(code: str, *arguments: str, given: str | None = None) -> tuple[str | None, str]:
    """Run Python code in a process of its own: why it failed, or None, and the last line that it printed."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            input=given,
            capture_output=True,
            text=True,
            timeout=_TRY_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_TRY_SECONDS:.0f} s", ""
    if done.returncode == 0:
        return None, (done.stdout.strip().splitlines() or [""])[-1]
    return (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1], ""


# As `preprocess` does when it is loaded.
_DECODE = """
import sys
sys.path.insert(0, sys.argv[1])
import device_decoder
device_decoder.DeviceDecoder(int(sys.argv[2]), 1)
"""


def decoder_problem(repository: Repository) -> str | None:
    """Why nvImageCodec cannot decode where the repository asks for it, or None."""
    code = repository.model("preprocess").resolve() / "1"
    said = next((why for card in decodes_on(repository) if (why := _tried(_DECODE, str(code), str(card))[0])), None)
    if said is None:
        return None
    return (
        f"--decode device: nvImageCodec does not decode ({said}), expected it with nvJPEG; "
        "`pip install 'maskline[gpu,decode]'`, or assemble with --decode host"
    )


def library_problem(installation: Installation) -> str | None:
    """Why ONNX Runtime cannot use a GPU in the Python that runs the stages, or None.

    A server with an `onnxruntime` backend of its own, as the official container's, has its own ONNX Runtime.
    """
    if installation.backends is not None and (installation.backends / in_process.BACKEND).is_dir():
        return None
    spec = importlib.util.find_spec("onnxruntime")
    places = (spec.submodule_search_locations if spec is not None else None) or []
    provider = next((file for place in places if (file := Path(place, "capi", _PROVIDER)).is_file()), None)
    if provider is None:
        return f"got an ONNX Runtime without {_PROVIDER}, expected the package onnxruntime-gpu; {_INSTALL}"
    said, _ = _tried(_TRY, str(provider))
    if said is None:
        return None
    return f"{_PROVIDER} does not load ({said}), expected CUDA and cuDNN beside it; {_INSTALL}"
