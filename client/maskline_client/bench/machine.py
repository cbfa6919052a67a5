"""The machine and the versions behind a figure, and the memory of a server that runs on the same machine."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import psutil

from maskline_client.contract import word_of

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1", "0.0.0.0")


@dataclasses.dataclass(frozen=True)
class ProcessMemory:
    """Memory of one process of the server.

    Attributes:
        pid: process id.
        name: `tritonserver`, the model instance a Python stub runs, or `decoder`.
        peak_mib: largest resident set since the process started (VmHWM), shared memory included.
        resident_mib: resident set now (VmRSS).
    """

    pid: int
    name: str
    peak_mib: float
    resident_mib: float


def now() -> str:
    """Date and time in UTC, to the second, e.g. `2026-11-29T05:11:16+00:00`."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def describe_machine() -> dict[str, str | int | float]:
    """CPU model, cores this process may use, memory and system; no host name."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def describe_versions(packages: Sequence[str]) -> dict[str, str]:
    """Versions of Python and of those of the distributions that are installed."""
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _cpu_model() -> str:
    """The CPU's name as the kernel gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def server_memory(url: str) -> tuple[ProcessMemory, ...]:
    """Memory of the local process that listens on `url` and of its children; empty when it is not to be seen.

    A server on another machine, in another container or of another user is not to be seen.

    Args:
        url: host:port of the gRPC endpoint.
    """
    host, _, port = url.rpartition(":")
    if host.strip("[]") not in _LOCAL_HOSTS or not port.isdigit():
        return ()
    root = _listener(int(port))
    if root is None:
        return ()
    found = [process_memory(process) for process in (root, *root.children(recursive=True))]
    return tuple(memory for memory in found if memory is not None)


def _listener(port: int) -> psutil.Process | None:
    """The process that listens on a TCP port of this machine."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return psutil.Process(connection.pid)
    except psutil.Error:
        pass
    return None


def process_memory(process: psutil.Process) -> ProcessMemory | None:
    """Memory of one process, or None when it is gone or its status cannot be read."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        name = _process_name(process.cmdline()) or process.name()
    except (OSError, psutil.Error):
        return None
    kib = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if line.startswith("Vm")}
    if "VmHWM" not in kib:  # a zombie or a kernel thread has no memory of its own
        return None
    return ProcessMemory(process.pid, name, int(kib["VmHWM"]) / 1024, int(kib["VmRSS"]) / 1024)


def _process_name(command: Sequence[str]) -> str:
    """`tritonserver`, `stub <model instance>` for Triton's Python stub, `decoder` for what decodes its files."""
    if not command:
        return ""
    if any(argument.endswith("/decoder/worker.py") for argument in command):
        return "decoder"
    program = Path(command[0]).name
    if "python_backend_stub" not in program:
        return program
    # argv[1] is MODELS/<model>/<version>/<file>; a later argument is the instance, <model>_<n>_<n>.
    model = Path(command[1]).parent.parent.name if len(command) > 1 else "?"
    instance = next((argument for argument in command[2:] if argument.startswith(f"{model}_")), model)
    return f"stub {word_of(model)}{instance.removeprefix(model)}"
