"""Do TensorRT and the GPU of this machine fit the engines of a repository?

A plan loads only in the very TensorRT and on the GPU architecture it was built for. This file stands alone and is
copied into the repository, where `launch.sh` runs it before the server: `python3 check_engines.py`.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path

# Attributes of a device in the CUDA driver's interface.
_MAJOR, _MINOR = 75, 76


def tensorrt_version(major: str) -> str | None:
    """Version of the TensorRT library of this machine, such as 10.14.1.48; None where there is none of that major."""
    for name in (f"libnvinfer.so.{major}", "libnvinfer.so"):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        return version_of(library)
    return None


def version_of(library: ctypes.CDLL) -> str:
    """What a TensorRT library says of itself."""
    parts = ("Major", "Minor", "Patch", "Build")
    return ".".join(str(getattr(library, f"getInferLib{part}Version")()) for part in parts)


def compute_capability() -> str | None:
    """That of the first GPU, such as 8.9; None where there is none."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, number = ctypes.c_int(), ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), 0):
        return None
    numbers = []
    for attribute in (_MAJOR, _MINOR):
        if cuda.cuDeviceGetAttribute(ctypes.byref(number), attribute, device):
            return None
        numbers.append(str(number.value))
    return ".".join(numbers)


def compare(expected: dict[str, str]) -> dict[str, tuple[str | None, str]]:
    """What was looked at -> (found on this machine or None, expected).

    Args:
        expected: `tensorrt` and `compute_capability`, as repository.json has them under `engines`.
    """
    return {
        "TensorRT": (tensorrt_version(expected["tensorrt"].partition(".")[0]), expected["tensorrt"]),
        "compute capability": (compute_capability(), expected["compute_capability"]),
    }


def main() -> None:
    """Exit with status 1 and one line where they do not fit."""
    path = Path(__file__).resolve().parent / "repository.json"
    expected = json.loads(path.read_text(encoding="utf-8"))["engines"]
    wrong = [f"{what}: got {got}, expected {want}" for what, (got, want) in compare(expected).items() if got != want]
    if wrong:
        advice = "the engines do not load here: build them on this machine with `maskline-export engine`"
        sys.stderr.write(f"{'; '.join(wrong)}; {advice}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
