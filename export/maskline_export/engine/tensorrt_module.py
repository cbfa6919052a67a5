"""Getting at TensorRT: its Python module, its messages, and the GPU that plans are built for."""

from __future__ import annotations

import ctypes
import importlib
from typing import Any

from maskline_command.signals import has_come

from maskline_export.engine.engine_manifest import Runtime
from maskline_export.errors import EngineBuildError

_INSTALL = {
    "tensorrt": "TensorRT is not installed: `pip install tensorrt` on a machine with an NVIDIA GPU (its libraries come "
    "from NVIDIA's own index), or use NVIDIA's TensorRT container; --rtx builds for TensorRT for RTX without a GPU",
    "tensorrt_rtx": "TensorRT for RTX is not installed: `pip install tensorrt-rtx-cu13`",
}
# Attributes of a device in the CUDA driver's interface.
_MAJOR, _MINOR = 75, 76


def import_tensorrt(runtime: Runtime) -> Any:
    """The module `tensorrt` or `tensorrt_rtx`.

    Raises:
        EngineBuildError: it is not installed, or its libraries do not load; the text says what to do.
    """
    try:
        return importlib.import_module(runtime)
    except ModuleNotFoundError as error:
        if error.name != runtime:
            raise EngineBuildError(f"{runtime} does not load: {error}; install it again") from error
        raise EngineBuildError(_INSTALL[runtime]) from error
    except (ImportError, OSError) as error:
        raise EngineBuildError(f"{runtime} does not load: {' '.join(str(error).split())}; install it again") from error


def make_logger(trt: Any) -> Any:
    """A TensorRT logger that keeps errors in its list `errors` and shows nothing: our own error carries them."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        """Collects what went wrong."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(" ".join(message.split()))

    return Logger()


def make_monitor(trt: Any) -> Any:
    """What TensorRT asks between the steps of a build, which may take minutes: whether Ctrl-C has come."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Ends a build when a signal came."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            pass

        def phase_finish(self, name: str) -> None:
            pass

        def step_complete(self, name: str, step: int) -> bool:
            return not has_come()

    return Monitor()


def first_gpu() -> tuple[str, str] | None:
    """Name and compute capability ("8.9") of the GPU that CUDA puts first; None where there is none.

    Asks the driver's library itself, so that building engines needs no other package.
    """
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, number, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(256)
    if cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), 0):
        return None
    if cuda.cuDeviceGetName(name, len(name), device):
        return None
    numbers = []
    for attribute in (_MAJOR, _MINOR):
        if cuda.cuDeviceGetAttribute(ctypes.byref(number), attribute, device):
            return None
        numbers.append(str(number.value))
    return name.value.decode(errors="replace"), ".".join(numbers)
