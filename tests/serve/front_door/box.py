"""What deploy/compose.yaml asks of a container, for a process of this machine: another user, nothing to write to.

A mount namespace of its own in which every file system is read-only, /tmp and /dev/shm are new and empty, and a user
without rights: the part of a container that needs root and no image.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from maskline_serve.server import find_server, in_process

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "triton_repo" / "deploy"
USER = 1000  # Containerfile, compose.yaml
_TMPFS = "nosuid,nodev,noexec"
_USER = "--clear-groups --no-new-privs --bounding-set -all --inh-caps -all"


def entering(folder: Path, *command: str) -> list[str]:
    """A command line that runs another one inside the box.

    Args:
        folder: what the box is about, of `image`; read-only in it.
        command: program and arguments.
    """
    return ["unshare", "--mount", "sh", "-euc", "\n".join(_enter(folder)), "box", *command]


def _enter(folder: Path) -> Iterator[str]:
    """The shell's lines: mounts, then the other user. `$@` is what to run."""
    inner = shlex.quote(str(folder))
    yield "mount --make-rprivate /"
    kept = {path: f"{inner}/kept/{number}" for number, path in enumerate(_needed())}
    for path, place in kept.items():
        yield f"mount --bind {shlex.quote(str(path))} {place}"
    for hidden in sorted({closed for path in kept for closed in _closed_above(path)}):
        yield f"mount -t tmpfs -o size=1m,mode=755,{_TMPFS} tmpfs {shlex.quote(str(hidden))}"
    yield f"mount -t tmpfs -o size=256m,mode=1777,{_TMPFS} tmpfs /tmp"
    yield f"mount -t tmpfs -o size=1g,mode=1777,{_TMPFS} tmpfs /dev/shm"
    for path, place in kept.items():
        there = shlex.quote(str(path))
        yield f"mkdir -p {there}; mount --bind {place} {there}; mount -o remount,bind,ro {there}"
    yield f"mount --bind {inner} {inner}; mount -o remount,bind,ro {inner}; mount -o remount,bind,ro /"
    yield f'exec setpriv --reuid {USER} --regid {USER} {_USER} "$@"'


def _needed() -> list[Path]:
    """Folders with programs and packages that the box would hide: below /tmp, or where others may not look."""
    places = dict.fromkeys(Path(name).resolve() for name in (sys.base_prefix, sys.prefix, str(ROOT)))
    return [path for path in places if Path("/tmp") in path.parents or list(_closed_above(path))]


def _closed_above(path: Path) -> Iterator[Path]:
    """Folders above a path that others may not pass."""
    return (folder for folder in path.parents if not folder.stat().st_mode & stat.S_IXOTH)


def missing(folder: Path) -> str:
    """Why this machine cannot make a box around a folder; empty when it can."""
    if os.geteuid() != 0:
        return "making a mount namespace and another user takes root"
    try:
        python = shutil.which("python3", path=find_server.environment(find_server.find())["PATH"]) or "python3"
        looks = f'test -r "{__file__}" && test ! -w "{folder}" && "{python}" -c "import numpy, PIL"'
        done = subprocess.run(
            entering(folder, "sh", "-c", looks), capture_output=True, text=True, timeout=60, check=False
        )
    except OSError as error:
        return f"no {error.filename} on this machine"
    if done.returncode:
        return f"another user cannot run what is needed here: {done.stderr.strip() or 'this checkout is not readable'}"
    return ""


@contextlib.contextmanager
def image(repository: Path) -> Iterator[Path]:
    """A folder laid out as /repository in the image, with the wheel's server as `tritonserver` in `bin`."""
    folder = Path(tempfile.mkdtemp(prefix="maskline-box-", dir="/var/tmp"))
    try:
        folder.chmod(0o755)
        for name in ("models", "backends"):
            shutil.copytree(repository / name, folder / name)
        for name in ("launch.sh", "health.py"):
            shutil.copyfile(DEPLOY / name, folder / name)
        installation = find_server.find()
        for number in range(len(_needed())):
            (folder / "kept" / str(number)).mkdir(parents=True)
        (folder / "work").mkdir()
        program, backends = find_server.prepare(installation, folder / "backends", folder / "work")
        server = folder / "bin" / "tritonserver"
        server.parent.mkdir()
        stages = in_process.flags(backends, [folder / "models"])  # where the image's own backend needs nothing
        words = shlex.join([str(program), f"--backend-directory={backends}", *stages])
        server.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
        server.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder)


def environment(folder: Path) -> dict[str, str]:
    """The environment of the image: its server on PATH, a home that cannot be written to."""
    found = find_server.environment(find_server.find())
    return {**found, "PATH": f"{folder}/bin:{found['PATH']}", "HOME": "/nonexistent", "TMPDIR": "/tmp"}
